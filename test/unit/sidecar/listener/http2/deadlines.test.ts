import assert from "node:assert/strict";
import { FrameFlag, FrameType, Http2Error, Setting } from "../../../../../sidecar/listener/http2/frame.ts";
import { ManualClock } from "../../../../support/manual-clock.ts";
import { waitUntil } from "../../../../support/wait-until.ts";
import { EchoEngine, EchoPath } from "./echo-engine.ts";
import { callFields, frame, grpcMessage, headersFrame, RawClient, setting, wholeCall } from "./raw-client.ts";

describe("time limits of the engine", () => {
  let clock: ManualClock;
  let engine: EchoEngine;
  let client: RawClient;

  beforeEach(async () => {
    clock = new ManualClock();
    engine = await EchoEngine.start({ clock });
    client = await RawClient.connect(engine.port);
    await client.frame("SETTINGS", ({ type }) => type === FrameType.Settings);
  });

  afterEach(() => {
    client.close();
    engine.stop();
  });

  const parked = (count: number) => waitUntil("the parked calls", () => engine.parked.length === count);

  it("end a call at its grpc-timeout, not before, and tell its method", async () => {
    client.send(wholeCall(1, EchoPath.Park, "", [["grpc-timeout", "500m"]]));
    await parked(1);
    assert.equal(engine.parked[0]!.deadlineMs, clock.monotonicMs() + 500);
    clock.advance(499);
    assert.equal(engine.parked[0]!.isOpen, true);
    clock.advance(50);
    assert.equal(await client.status(1), "4");
    assert.deepEqual(engine.cancelled, [{ path: EchoPath.Park, reason: "deadline" }]);
    assert.equal(engine.parked[0]!.isOpen, false);
  });

  it("leave an answered call alone", async () => {
    client.send(wholeCall(1, EchoPath.Park, "", [["grpc-timeout", "500m"]]));
    await parked(1);
    engine.parked[0]!.finish(0);
    clock.advance(1000);
    assert.equal(await client.status(1), "0");
    assert.deepEqual(engine.cancelled, []);
  });

  for (const timeout of ["31536000M", "525600M", "99999999H"]) {
    it(`keep a bidi stream with grpc-timeout ${timeout} open, and answer on it`, async () => {
      client.send(headersFrame(1, callFields(EchoPath.Bidi, [["grpc-timeout", timeout]])));
      await parked(1);
      assert.equal(engine.parked[0]!.deadlineMs, Number.POSITIVE_INFINITY);
      for (let minute = 0; minute < 10; minute++) {
        // The client answers our PINGs by talking.
        for (let i = 0; i < 6; i++) {
          clock.advance(10_000);
          client.send(frame(FrameType.Data, 0, 1, grpcMessage("still here")));
          const answers = minute * 6 + i + 1;
          await client.until("an answer", () => client.messages(1).length === answers);
        }
      }
      client.send(frame(FrameType.Data, FrameFlag.EndStream, 1, ""));
      assert.equal(await client.status(1), "0");
    });
  }

  it("reset a call whose last bytes the client does not take before its deadline", async () => {
    const slow = await RawClient.connect(engine.port, { settings: setting(Setting.InitialWindowSize, 2) });
    slow.send(wholeCall(1, EchoPath.Unary, "0123456789", [["grpc-timeout", "1S"]]));
    await slow.until("two bytes", () => slow.body(1).length === 2);
    clock.advance(1100);
    assert.equal(await slow.status(1), `reset ${Http2Error.Cancel}`);
    slow.close();
  });

  it("end a call whose first byte does not come in 5 s, or whose message is not complete in 15 s", async () => {
    client.send(headersFrame(1, callFields(EchoPath.Unary)), headersFrame(3, callFields(EchoPath.Unary)));
    client.send(frame(FrameType.Data, 0, 3, grpcMessage("hello").subarray(0, 7)));
    client.send(frame(FrameType.Ping, 0, 0, Buffer.alloc(8)));
    await client.frame("PING", ({ type }) => type === FrameType.Ping);
    clock.advance(4000);
    assert.equal(engine.server.callCount, 2);
    clock.advance(2000);
    assert.equal(await client.status(1), "4");
    assert.equal(engine.server.callCount, 1);
    clock.advance(10_000);
    assert.equal(await client.status(3), "4");
    assert.equal(engine.server.inflight.used, 0);
  });

  it("close a connection without preface, or without a TLS handshake, after 5 s", async () => {
    const silent = await RawClient.connect(engine.port, { hasPreface: false });
    const half = await RawClient.connect(engine.port, { hasPreface: false });
    half.send(Buffer.from("PRI * HT"));
    await waitUntil("both to be accepted", () => engine.server.connectionCount === 3);
    await waitUntil("the half preface to be read", () => engine.connections.size === 2);
    clock.advance(4000);
    assert.equal(engine.server.connectionCount, 3);
    clock.advance(2000);
    await Promise.all([silent.untilClosed(), half.untilClosed()]);
    assert.equal(client.isClosed, false);
  });

  it("ask a silent connection after 30 s and destroy it 5 s later when it does not answer", async () => {
    client.send(wholeCall(1, EchoPath.Park, ""));
    await parked(1);
    clock.advance(29_000);
    assert.ok(!client.frames.some(({ type }) => type === FrameType.Ping));
    clock.advance(2000);
    await client.frame("PING", ({ type }) => type === FrameType.Ping);
    clock.advance(6000);
    await client.untilClosed();
    assert.deepEqual(engine.cancelled, [{ path: EchoPath.Park, reason: "connection-closed" }]);
  });

  it("keep a silent connection that answers the PING", async () => {
    clock.advance(31_000);
    const ping = await client.frame("PING", ({ type }) => type === FrameType.Ping);
    client.send(frame(FrameType.Ping, FrameFlag.Ack, 0, ping.payload));
    client.send(wholeCall(1, EchoPath.Unary, "x"));
    await client.end(1);
    clock.advance(20_000);
    assert.equal(client.isClosed, false);
    assert.equal(engine.server.connectionCount, 1);
  });

  it("destroy a client that takes none of its bytes for 35 s, and not one that still takes some", async () => {
    client.close();
    const stuck = await RawClient.connect(engine.port, { settings: setting(Setting.InitialWindowSize, 0x7fff_ffff) });
    stuck.send(frame(FrameType.WindowUpdate, 0, 0, Buffer.from("7fff0000", "hex")));
    await stuck.frame("SETTINGS", ({ type }) => type === FrameType.Settings);
    stuck.socket.pause();
    stuck.send(wholeCall(1, EchoPath.Pour, "2000 60000"));
    await waitUntil("the engine to wait for room", () => engine.waits > 0);
    const waits = engine.waits;
    for (let i = 0; i < 34; i++) await clock.advanceAndSettle(1000);
    assert.equal(engine.server.connectionCount, 1);
    assert.equal(engine.waits, waits);
    for (let i = 0; i < 4; i++) await clock.advanceAndSettle(1000);
    await waitUntil("the connection to be gone", () => engine.server.connectionCount === 0);
    assert.deepEqual(engine.cancelled, [{ path: EchoPath.Pour, reason: "connection-closed" }]);
    stuck.close();
  });

  it("do not take the silence of a client that is not read from for its death", async () => {
    const patient = await EchoEngine.start({ clock, limits: { writeStallMsMax: 100_000 } });
    const stuck = await RawClient.connect(patient.port, { settings: setting(Setting.InitialWindowSize, 0x7fff_ffff) });
    stuck.send(frame(FrameType.WindowUpdate, 0, 0, Buffer.from("7fff0000", "hex")));
    await stuck.frame("SETTINGS", ({ type }) => type === FrameType.Settings);
    stuck.socket.pause();
    stuck.send(wholeCall(1, EchoPath.Pour, "2000 60000"));
    await waitUntil("the engine to wait for room", () => patient.waits > 0);
    for (let i = 0; i < 80; i++) await clock.advanceAndSettle(1000);
    assert.equal(patient.server.connectionCount, 1);
    stuck.socket.resume();
    assert.equal(await stuck.status(1), "0");
    assert.equal(stuck.messages(1).length, 2000);
    stuck.close();
    patient.stop();
  });

  it("let go of a connection that was told why it ends, though the client keeps it open", async () => {
    client.send(frame(FrameType.Ping, 0, 1, Buffer.alloc(8)));
    assert.equal(await client.goAwayCode(), Http2Error.ProtocolError);
    client.socket.removeAllListeners("end");
    clock.advance(3000);
    await client.untilClosed();
    await waitUntil("the connection to be gone", () => engine.server.connectionCount === 0);
  });
});
