import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { silentLog } from "../../../../../proto/runtime/log.ts";
import { MetricRegistry } from "../../../../../proto/runtime/metric.ts";
import { NodeClock } from "../../../../../proto/runtime/node-clock.ts";
import { selfSignedCertificate } from "../../../../../sidecar/listener/certificate.ts";
import { connectionPreface, FrameFlag, FrameType, Http2Error } from "../../../../../sidecar/listener/http2/frame.ts";
import { GrpcServer } from "../../../../../sidecar/listener/http2/server.ts";
import { ManualClock } from "../../../../support/manual-clock.ts";
import { waitUntil } from "../../../../support/wait-until.ts";
import { EchoEngine, EchoPath } from "./echo-engine.ts";
import { callFields, frame, grpcMessage, headersFrame, RawClient, uint32, wholeCall } from "./raw-client.ts";

const { GoAway, Ping, RstStream } = FrameType;

describe("the engine's server", () => {
  let directory: string;
  const cleanups: (() => void)[] = [];

  before(() => {
    directory = mkdtempSync(join(tmpdir(), "popmesh-http2-"));
  });

  afterEach(() => {
    for (const cleanup of cleanups.splice(0)) cleanup();
  });

  after(() => rmSync(directory, { recursive: true }));

  const start = async (options: ConstructorParameters<typeof EchoEngine>[0] = {}): Promise<EchoEngine> => {
    const engine = await EchoEngine.start(options);
    cleanups.push(() => engine.stop());
    return engine;
  };
  const connected = async (engine: EchoEngine, isTls = false): Promise<RawClient> => {
    const client = await RawClient.connect(engine.port, { isTls });
    cleanups.push(() => client.close());
    return client;
  };

  describe("goAway", () => {
    const goAways = (client: RawClient) =>
      client.frames
        .filter(({ type }) => type === GoAway)
        .map(({ payload }) => [payload.readUInt32BE(0), payload.readUInt32BE(4)]);

    it("announces the end, serves what was under way, then names the last stream and closes when all are done", async () => {
      const engine = await start();
      const client = await connected(engine);
      client.send(wholeCall(1, EchoPath.Park, ""));
      await waitUntil("the parked call", () => engine.parked.length === 1);
      engine.server.goAway();
      const ping = await client.frame("PING", ({ type }) => type === Ping);
      assert.deepEqual(goAways(client), [[0x7fff_ffff, Http2Error.NoError]]);
      // Under way while the announcement travelled.
      client.send(wholeCall(3, EchoPath.Unary, "served"));
      assert.equal(await client.status(3), "0");
      client.send(frame(Ping, FrameFlag.Ack, 0, ping.payload), wholeCall(5, EchoPath.Unary, "too late"));
      assert.equal(await client.status(5), `reset ${Http2Error.RefusedStream}`);
      assert.deepEqual(goAways(client)[1], [3, Http2Error.NoError]);
      assert.equal(client.isClosed, false);
      engine.parked[0]!.finish(0);
      assert.equal(await client.status(1), "0");
      await client.untilClosed();
      await waitUntil("the connection to be gone", () => engine.server.connectionCount === 0);
    });

    it("does not wait for ever for the answer to its PING", async () => {
      const clock = new ManualClock();
      const engine = await start({ clock });
      const client = await connected(engine);
      await client.frame("SETTINGS", ({ type }) => type === FrameType.Settings);
      engine.server.goAway();
      await client.until("the announcement", () => goAways(client).length === 1);
      clock.advance(2500);
      await client.untilClosed();
      assert.deepEqual(goAways(client)[1], [0, Http2Error.NoError]);
    });

    it("takes no new connections after stopAccepting, and goes on with the others", async () => {
      const engine = await start();
      const client = await connected(engine);
      client.send(wholeCall(1, EchoPath.Unary, "a"));
      await client.end(1);
      engine.server.stopAccepting();
      await assert.rejects(RawClient.connect(engine.port), { code: "ECONNREFUSED" });
      client.send(wholeCall(3, EchoPath.Unary, "b"));
      assert.equal(await client.status(3), "0");
    });
  });

  it("closes in order after the client's GOAWAY, once its calls are answered", async () => {
    const engine = await start();
    const client = await connected(engine);
    client.send(wholeCall(1, EchoPath.Park, ""), frame(GoAway, 0, 0, Buffer.alloc(8)));
    await waitUntil("the parked call", () => engine.parked.length === 1);
    engine.parked[0]!.finish(0);
    assert.equal(await client.status(1), "0");
    await client.untilClosed();
  });

  it("closeAll cancels every call with the reason and leaves no timer", async () => {
    const clock = new ManualClock();
    const engine = await start({ clock });
    const client = await connected(engine);
    client.send(wholeCall(1, EchoPath.Park, "", [["grpc-timeout", "10S"]]));
    await waitUntil("the parked call", () => engine.parked.length === 1);
    engine.server.closeAll();
    await client.untilClosed();
    assert.deepEqual(engine.cancelled, [{ path: EchoPath.Park, reason: "shutdown" }]);
    assert.equal(clock.pendingTimers, 0);
    assert.equal(engine.connections.size, 0);
  });

  it("refuses streams beyond the limit and serves on when others end", async () => {
    const engine = await start({ limits: { streamsMax: 3 } });
    const client = await connected(engine);
    for (const id of [1, 3, 5]) client.send(wholeCall(id, EchoPath.Park, ""));
    client.send(wholeCall(7, EchoPath.Unary, "refused"));
    assert.equal(await client.status(7), `reset ${Http2Error.RefusedStream}`);
    engine.parked[0]!.finish(0);
    client.send(wholeCall(9, EchoPath.Unary, "x"));
    assert.equal(await client.status(9), "0");
    const settings = client.frames[0]!;
    assert.equal(settings.payload.readUInt16BE(6), 3, "SETTINGS_MAX_CONCURRENT_STREAMS is announced");
    assert.equal(settings.payload.readUInt32BE(8), 3);
  });

  it("sheds calls over the rate with RESOURCE_EXHAUSTED and counts it", async () => {
    const engine = await start({ clock: new ManualClock(), limits: { requestsPerSecondMax: 10 } });
    const client = await connected(engine);
    for (let i = 0; i < 20; i++) client.send(wholeCall(1 + 2 * i, EchoPath.Unary, "x"));
    const statuses = await Promise.all(Array.from({ length: 20 }, (_, i) => client.status(1 + 2 * i)));
    assert.deepEqual(statuses, [...new Array(10).fill("0"), ...new Array(10).fill("8")]);
    assert.equal(engine.server.counters.cuts("request-rate"), 10);
  });

  const bounds = [
    { limit: "connections-per-peer", limits: { connectionsMax: 5, connectionsPerPeerMax: 3 } },
    { limit: "connections", limits: { connectionsMax: 3, connectionsPerPeerMax: 5 } },
  ] as const;
  for (const { limit, limits } of bounds) {
    it(`bounds ${limit}`, async () => {
      const engine = await start({ limits });
      for (let i = 0; i < 3; i++) await connected(engine);
      const fourth = await connected(engine);
      await fourth.untilClosed();
      assert.equal(engine.server.counters.cuts(limit), 1);
      assert.equal(engine.server.connectionCount, 3);
    });
  }

  it("forgets the address of a connection that is gone", async () => {
    const engine = await start({ limits: { connectionsPerPeerMax: 1 } });
    for (let i = 0; i < 5; i++) {
      const client = await connected(engine);
      client.send(wholeCall(1, EchoPath.Unary, "x"));
      assert.equal(await client.status(1), "0");
      client.close();
      await waitUntil("the connection to be gone", () => engine.server.connectionCount === 0);
    }
  });

  it("takes cleartext and TLS on one port, byte by byte too", async () => {
    const engine = await start({ tls: await selfSignedCertificate(directory, new NodeClock()) });
    const plain = await connected(engine);
    const secured = await connected(engine, true);
    for (const client of [plain, secured]) {
      client.send(wholeCall(1, EchoPath.Unary, "x"));
      assert.equal(await client.status(1), "0");
    }
    await waitUntil("both", () => engine.connections.size === 2);
    assert.deepEqual(
      [...engine.connections].map(({ isTls, remoteAddress }) => [isTls, remoteAddress]),
      [
        [false, "127.0.0.1"],
        [true, "127.0.0.1"],
      ],
    );
    const slow = await RawClient.connect(engine.port, { hasPreface: false });
    cleanups.push(() => slow.close());
    for (const byte of Buffer.concat([
      connectionPreface,
      frame(FrameType.Settings, 0, 0),
      wholeCall(1, EchoPath.Unary, "slow"),
    ])) {
      slow.send(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(await slow.status(1), "0");
  });

  it("negotiates h2 and nothing older than TLS 1.2", async () => {
    const engine = await start({ tls: await selfSignedCertificate(directory, new NodeClock()) });
    const agreed = await new Promise<string | false | null>((resolve, reject) => {
      const socket = connectTls({
        port: engine.port,
        host: "127.0.0.1",
        rejectUnauthorized: false,
        ALPNProtocols: ["http/1.1", "h2"],
      });
      socket.once("secureConnect", () => {
        resolve(socket.alpnProtocol);
        socket.destroy();
      });
      socket.once("error", reject);
    });
    assert.equal(agreed, "h2");
    await assert.rejects(
      new Promise((_resolve, reject) => {
        connectTls({
          port: engine.port,
          host: "127.0.0.1",
          rejectUnauthorized: false,
          maxVersion: "TLSv1.1",
          minVersion: "TLSv1",
          ciphers: "DEFAULT@SECLEVEL=0",
        }).once("error", reject);
      }),
    );
    await waitUntil("both to be gone", () => engine.server.connectionCount === 0);
  });

  it("uses a new certificate for new connections and leaves the others alone", async () => {
    const engine = await start({ tls: await selfSignedCertificate(directory, new NodeClock()) });
    const old = await connected(engine, true);
    const renewed = await selfSignedCertificate(join(directory, "renewed"), new NodeClock());
    engine.server.setTls(renewed);
    await new Promise<void>((resolve, reject) => {
      const socket = connectTls({
        port: engine.port,
        host: "localhost",
        ca: renewed.certificate,
        ALPNProtocols: ["h2"],
      });
      socket.once("secureConnect", () => {
        socket.destroy();
        resolve();
      });
      socket.once("error", reject);
    });
    old.send(wholeCall(1, EchoPath.Unary, "x"));
    assert.equal(await old.status(1), "0");
    assert.throws(() => engine.server.setTls({ certificate: "no PEM", privateKey: "no PEM" }));
  });

  it("turns TLS away when it has no certificate, and garbage after a TLS byte when it has one", async () => {
    const without = await start();
    await assert.rejects(RawClient.connect(without.port, { isTls: true }));
    const engine = await start({ tls: await selfSignedCertificate(directory, new NodeClock()) });
    const garbage = await RawClient.connect(engine.port, { hasPreface: false });
    garbage.send(Buffer.from("160301ffffdeadbeef", "hex"), Buffer.alloc(70_000, 7));
    await garbage.untilClosed();
    await waitUntil("it to be gone", () => engine.server.connectionCount === 0);
  });

  it("listens on a Unix socket and on several addresses at once", async () => {
    const engine = await start();
    const path = join(directory, "port.sock");
    assert.equal(await engine.server.listen({ path }), 0);
    const second = await engine.server.listen({ host: "127.0.0.1", port: 0 });
    assert.deepEqual(engine.server.ports, [engine.port, second]);
    for (const socket of [connect({ path }), connect({ port: second, host: "127.0.0.1" })]) {
      const client = new RawClient(socket);
      cleanups.push(() => client.close());
      client.send(connectionPreface, frame(FrameType.Settings, 0, 0), wholeCall(1, EchoPath.Unary, "x"));
      assert.equal(await client.status(1), "0");
    }
    engine.stop();
    await waitUntil("the socket's file to be gone", () => !existsSync(path));
  });

  it("names the system's error when a port is taken", async () => {
    const engine = await start();
    const other = new EchoEngine();
    cleanups.push(() => other.stop());
    await assert.rejects(other.server.listen({ host: "127.0.0.1", port: engine.port }), { code: "EADDRINUSE" });
  });

  it("refuses two methods of one path", () => {
    const method = { path: "/a/B", kind: "unary", requestBytesMax: 1, onMessage() {} } as const;
    const options = { methods: [method, method], clock: new ManualClock(), log: silentLog };
    assert.throws(() => new GrpcServer(options), /\/a\/B/);
  });

  it("counts into a registry", async () => {
    const metrics = new MetricRegistry();
    const server = new GrpcServer({ methods: [], clock: new NodeClock(), log: silentLog, metrics });
    cleanups.push(() => server.closeAll());
    const port = await server.listen({ host: "127.0.0.1", port: 0 });
    const client = await RawClient.connect(port);
    cleanups.push(() => client.close());
    client.send(frame(Ping, 0, 1, Buffer.alloc(8)));
    await client.untilClosed();
    const text = metrics.prometheusText();
    assert.match(text, /popmesh_http2_connections_total 1\n/);
    assert.match(text, /popmesh_http2_protocol_errors_total 1\n/);
    assert.match(text, /popmesh_http2_limit_total\{limit="ping"\} 0\n/);
  });

  it("tolerates keep-alive pings, answers them with their own bytes, and never calls them too many", async () => {
    const engine = await start();
    const client = await connected(engine);
    for (let i = 0; i < 60; i++) client.send(frame(Ping, 0, 0, Buffer.from(`ping-${String(i).padStart(3, "0")}`)));
    const answers = () => client.frames.filter(({ type }) => type === Ping);
    await client.until("60 answers", () => answers().length === 60);
    assert.ok(
      answers().every(
        ({ flags }, i) =>
          flags === FrameFlag.Ack && answers()[i]!.payload.toString() === `ping-${String(i).padStart(3, "0")}`,
      ),
    );
  });

  it("gives each connection an id of its own and keeps its owner's context", async () => {
    const engine = await start();
    const a = await connected(engine);
    const b = await connected(engine);
    for (const client of [a, b]) client.send(wholeCall(1, EchoPath.Park, ""));
    await waitUntil("both", () => engine.parked.length === 2);
    const [first, second] = engine.parked.map(({ connection }) => connection);
    assert.notEqual(first!.id, second!.id);
    first!.context = "mine";
    a.send(headersFrame(3, callFields(EchoPath.Park)), frame(FrameType.Data, FrameFlag.EndStream, 3, grpcMessage("")));
    await waitUntil("the third call", () => engine.parked.length === 3);
    assert.equal(engine.parked.filter(({ connection }) => connection.context === "mine").length, 2);
    a.send(frame(RstStream, 0, 3, uint32(8)));
    await waitUntil("the cancellation", () => engine.cancelled.length === 1);
  });
});
