import assert from "node:assert/strict";
import { FrameFlag, FrameType, Http2Error, Setting } from "../../../../../sidecar/listener/http2/frame.ts";
import { waitUntil } from "../../../../support/wait-until.ts";
import { EchoEngine, EchoPath, echoBytesMax } from "./echo-engine.ts";
import {
  callFields,
  type Fields,
  frame,
  grpcMessage,
  headerBlock,
  headersFrame,
  RawClient,
  setting,
  uint32,
  wholeCall,
} from "./raw-client.ts";

const { Continuation, Data, Headers, Ping, Priority, RstStream, Settings, WindowUpdate } = FrameType;
const { EndHeaders, EndStream } = FrameFlag;

/** Resident memory that an attack may cost, MiB. Each of them sends or claims many times that. */
const memoryMiBMax = 96;

interface Attack {
  readonly title: string;
  /** Attacks with `client`; resolves when it is over. */
  readonly run: (client: RawClient, engine: EchoEngine) => Promise<void>;
}

/** Sends `bytes` again and again until the engine cuts the connection or `times` is reached. */
async function flood(client: RawClient, times: number, bytes: (i: number) => Buffer, perWrite = 200): Promise<void> {
  for (let i = 0; i < times && !client.isClosed; i += perWrite) {
    const parts: Buffer[] = [];
    for (let k = i; k < Math.min(times, i + perWrite); k++) parts.push(bytes(k));
    client.send(...parts);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function cut(client: RawClient): Promise<void> {
  assert.equal(await client.goAwayCode(), Http2Error.EnhanceYourCalm);
  await client.untilClosed();
}

const park = (id: number) => wholeCall(id, EchoPath.Park, "");

const attacks: readonly Attack[] = [
  {
    title: "rapid reset: HEADERS and RST_STREAM without end",
    run: async (client, engine) => {
      await flood(client, 20_000, (i) => Buffer.concat([park(1 + 2 * i), frame(RstStream, 0, 1 + 2 * i, uint32(8))]));
      await cut(client);
      assert.ok(engine.messages(EchoPath.Park) < 2000, `${engine.messages(EchoPath.Park)} calls reached a method`);
      assert.equal(engine.server.callCount, 0);
    },
  },
  {
    title: "made resets: stream errors provoked without end",
    run: async (client) => {
      await flood(client, 5000, (i) => Buffer.concat([park(1 + 2 * i), frame(WindowUpdate, 0, 1 + 2 * i, uint32(0))]));
      await cut(client);
    },
  },
  {
    title: "CONTINUATION frames without end",
    run: async (client) => {
      client.send(frame(Headers, 0, 1, headerBlock(callFields(EchoPath.Unary))));
      await flood(client, 5000, () => frame(Continuation, 0, 1, headerBlock([["x-a", "b".repeat(500)]])));
      await cut(client);
    },
  },
  {
    title: "empty CONTINUATION frames without end",
    run: async (client) => {
      client.send(frame(Headers, 0, 1, headerBlock(callFields(EchoPath.Unary))));
      await flood(client, 50_000, () => frame(Continuation, 0, 1, ""));
      await cut(client);
    },
  },
  {
    title: "header bombs: one table entry referred to many times",
    run: async (client, engine) => {
      const entry = Buffer.concat([Buffer.from("4003782d617fd91c", "hex"), Buffer.alloc(3800, "b")]);
      const bomb = (id: number, count: number) =>
        frame(
          Headers,
          EndHeaders,
          id,
          Buffer.concat([headerBlock(callFields(EchoPath.Later)), Buffer.alloc(count, 0xbe)]),
        );
      client.send(frame(Headers, EndHeaders, 1, Buffer.concat([headerBlock(callFields(EchoPath.Later)), entry])));
      // 118 of them are 448 KiB of headers; each request is refused.
      for (let id = 3; id < 60; id += 2) {
        client.send(bomb(id, 118));
        assert.equal(await client.status(id), `reset ${Http2Error.EnhanceYourCalm}`);
      }
      await flood(client, 200, (i) => bomb(101 + 2 * i, 4000));
      await cut(client);
      assert.equal(engine.messages(EchoPath.Later), 0);
    },
  },
  {
    title: "200 header fields",
    run: async (client) => {
      const many: Fields = Array.from({ length: 200 }, (_, i) => [`x-${i}`, "v"]);
      client.send(wholeCall(1, EchoPath.Unary, "", many), wholeCall(3, EchoPath.Unary, ""));
      assert.equal(await client.status(1), `reset ${Http2Error.EnhanceYourCalm}`);
      assert.equal(await client.status(3), "0");
    },
  },
  {
    title: "20,000 open streams",
    run: async (client, engine) => {
      await flood(client, 50_000, (i) => park(1 + 2 * i));
      await client.until(
        "a refusal or the end",
        () => client.isClosed || client.frames.some(({ type }) => type === RstStream),
      );
      assert.ok(engine.parked.length <= 100, `${engine.parked.length} calls at once`);
    },
  },
  {
    title: "PING without end",
    run: (client) => flood(client, 200_000, () => frame(Ping, 0, 0, Buffer.alloc(8)), 2000).then(() => cut(client)),
  },
  {
    title: "SETTINGS without end",
    run: (client) =>
      flood(client, 50_000, () => frame(Settings, 0, 0, setting(Setting.InitialWindowSize, 1000))).then(() =>
        cut(client),
      ),
  },
  {
    title: "empty DATA frames without end",
    run: async (client) => {
      client.send(headersFrame(1, callFields(EchoPath.Bidi)));
      await flood(client, 50_000, () => frame(Data, 0, 1, ""));
      await cut(client);
    },
  },
  {
    title: "PRIORITY and unknown frames without end",
    run: async (client) => {
      await flood(client, 50_000, (i) =>
        i % 2 === 0 ? frame(Priority, 0, 1, Buffer.from("0000000310", "hex")) : frame(99, 0, 0, ""),
      );
      await cut(client);
    },
  },
  {
    title: "WINDOW_UPDATE without end",
    run: (client) => flood(client, 500_000, () => frame(WindowUpdate, 0, 0, uint32(1)), 5000).then(() => cut(client)),
  },
  {
    title: "gzip bombs: 300 calls that declare gzip, and 300 with the compressed flag alone",
    run: async (client, engine) => {
      const bomb = Buffer.alloc(16_000, "z");
      for (let id = 1; id < 1200; id += 4) {
        client.send(
          headersFrame(id, callFields(EchoPath.Later, [["grpc-encoding", "gzip"]])),
          frame(Data, EndStream, id, grpcMessage(bomb, 1)),
        );
        client.send(
          headersFrame(id + 2, callFields(EchoPath.Later)),
          frame(Data, EndStream, id + 2, grpcMessage(bomb, 1)),
        );
        assert.equal(await client.status(id), "12");
        assert.equal(await client.status(id + 2), "12");
      }
      assert.equal(engine.messages(EchoPath.Later), 0);
    },
  },
  {
    title: "100 calls that announce 4 MiB each and then send nothing, on 20 connections",
    run: async (client, engine) => {
      const others = await Promise.all(Array.from({ length: 20 }, () => RawClient.connect(engine.port)));
      const prefix = Buffer.concat([Buffer.of(0), uint32(echoBytesMax), Buffer.of(1)]);
      for (const other of [client, ...others]) {
        for (let id = 1; id < 200; id += 2)
          other.send(headersFrame(id, callFields(EchoPath.Unary)), frame(Data, 0, id, prefix));
      }
      for (const other of [client, ...others]) assert.equal(await other.status(199), "8");
      const { limits, inflight } = engine.server;
      assert.ok(inflight.used <= limits.inflightBytesMax, `${inflight.used} bytes`);
      assert.ok(inflight.used > 0);
      for (const other of [client, ...others]) other.close();
      await waitUntil("the memory to be free again", () => inflight.used === 0);
    },
  },
  {
    title: "a client that asks for much and reads nothing",
    run: async (client, engine) => {
      const greedy = await RawClient.connect(engine.port, {
        settings: setting(Setting.InitialWindowSize, 0x7fff_ffff),
      });
      greedy.send(frame(WindowUpdate, 0, 0, uint32(0x7fff_ffff - 65_535)));
      await greedy.frame("SETTINGS", ({ type }) => type === Settings);
      greedy.socket.pause();
      for (let id = 1; id < 100; id += 2) greedy.send(wholeCall(id, EchoPath.Pour, "100000 60000"));
      await waitUntil("the engine to wait", () => engine.waits > 0);
      greedy.close();
      await waitUntil("the connection to be gone", () => engine.server.connectionCount === 2);
      assert.ok(engine.poured < 2000, `${engine.poured} messages went to nobody`);
      client.close();
    },
  },
  {
    title: "1,000 connections that say nothing or half a preface",
    run: async (_client, engine) => {
      const silent: RawClient[] = [];
      const { server } = engine;
      const turnedAway = () => server.counters.cuts("connections-per-peer");
      for (let asked = 100; asked <= 1000; asked += 100) {
        const opened = await Promise.all(
          Array.from({ length: 100 }, () =>
            RawClient.connect(engine.port, { hasPreface: false }).catch(() => undefined),
          ),
        );
        for (const one of opened) {
          if (one === undefined) continue;
          one.send(Buffer.from("PRI * HT"));
          silent.push(one);
        }
        await waitUntil("the engine to have seen them", () => turnedAway() + server.connectionCount >= asked);
        assert.ok(server.connectionCount <= server.limits.connectionsPerPeerMax);
      }
      assert.ok(turnedAway() >= 1000 - server.limits.connectionsPerPeerMax);
      for (const one of silent) one.close();
      await waitUntil("them to be gone", () => server.connectionCount <= 2);
    },
  },
  {
    title: "bytes of chance behind a good beginning",
    run: async (_client, engine) => {
      let seed = 12345;
      const chance = () => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) >>> 8;
      for (let round = 0; round < 200; round++) {
        const one = await RawClient.connect(engine.port);
        const noise = Buffer.from(Array.from({ length: 300 }, chance));
        // Half of them with lengths that fit, so that they are read as frames.
        one.send(
          round % 2 === 0
            ? noise
            : frame(chance() % 10, chance() & 0xff, chance() % 4, noise.subarray(0, chance() % 100)),
        );
        one.send(frame(chance() % 10, 0, 1, noise.subarray(0, 8)));
        one.socket.end();
        await one.untilClosed();
      }
    },
  },
];

describe("a hostile client", () => {
  let engine: EchoEngine;
  let honest: RawClient;
  let nextId = 1;
  let isServing = true;
  let served: Promise<number>;

  /** Calls one after the other until told to stop; answers how many, all of them well. */
  async function serveHonestly(): Promise<number> {
    let count = 0;
    while (isServing) {
      const id = nextId;
      nextId += 2;
      honest.send(wholeCall(id, EchoPath.Unary, `honest ${id}`));
      assert.equal(await honest.status(id), "0");
      assert.equal(String(honest.messages(id)[0]), `honest ${id}`);
      honest.frames.length = 0;
      count++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    return count;
  }

  beforeEach(async () => {
    engine = await EchoEngine.start();
    honest = await RawClient.connect(engine.port);
    nextId = 1;
    isServing = true;
    served = serveHonestly();
    await waitUntil("the first honest call", () => nextId > 3);
  });

  afterEach(() => {
    isServing = false;
    honest.close();
    engine.stop();
  });

  for (const { title, run } of attacks) {
    it(`does no harm by ${title}`, async () => {
      const rssBefore = process.memoryUsage.rss();
      const client = await RawClient.connect(engine.port);
      const during = nextId;
      await run(client, engine);
      const grownMiB = (process.memoryUsage.rss() - rssBefore) / 2 ** 20;
      assert.ok(grownMiB < memoryMiBMax, `memory grew by ${grownMiB.toFixed(0)} MiB`);
      isServing = false;
      await served;
      assert.ok(nextId > during, "no honest call was served meanwhile");
      client.close();
      honest.close();
      await waitUntil("all connections to be gone", () => engine.server.connectionCount === 0);
      assert.equal(engine.server.inflight.used, 0);
      assert.equal(engine.server.wheel.count, 0);
    });
  }
});
