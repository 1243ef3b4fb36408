import assert from "node:assert/strict";
import { FrameFlag, FrameType, Http2Error, Setting } from "../../../../../sidecar/listener/http2/frame.ts";
import { GrpcStatus } from "../../../../../sidecar/listener/http2/grpc-method.ts";
import { waitUntil } from "../../../../support/wait-until.ts";
import { EchoEngine, EchoPath } from "./echo-engine.ts";
import {
  callFields,
  type Fields,
  frame,
  grpcMessage,
  headersFrame,
  RawClient,
  setting,
  uint32,
  wholeCall,
} from "./raw-client.ts";

const { Data, WindowUpdate, Settings } = FrameType;
const { EndStream } = FrameFlag;

/** A call whose message takes several frames. */
function longCall(streamId: number, path: string, message: Buffer): Buffer {
  const bytes = grpcMessage(message);
  const frames = [headersFrame(streamId, callFields(path))];
  for (let at = 0; at < bytes.length; at += 16_384) {
    const end = Math.min(at + 16_384, bytes.length);
    frames.push(frame(Data, end === bytes.length ? EndStream : 0, streamId, bytes.subarray(at, end)));
  }
  return Buffer.concat(frames);
}

describe("flow control of the engine", () => {
  let engine: EchoEngine;
  const clients: RawClient[] = [];
  const connect = async (...settings: readonly (readonly [number, number])[]): Promise<RawClient> => {
    const payload = Buffer.concat(settings.map(([id, value]) => setting(id, value)));
    const client = await RawClient.connect(engine.port, { settings: payload });
    clients.push(client);
    return client;
  };

  beforeEach(async () => {
    engine = await EchoEngine.start();
  });

  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
    engine.stop();
  });

  it("sends no more than the window of a stream, byte by byte, and keeps the trailers until the end", async () => {
    const client = await connect([Setting.InitialWindowSize, 3]);
    client.send(wholeCall(1, EchoPath.Unary, "hello"));
    await client.until("three bytes", () => client.body(1).length === 3);
    client.send(frame(FrameType.Ping, 0, 0, Buffer.alloc(8)));
    await client.frame("PING", ({ type }) => type === FrameType.Ping);
    for (let bytes = 4; bytes <= 10; bytes++) {
      client.send(frame(WindowUpdate, 0, 1, uint32(1)));
      await client.until(`${bytes} bytes`, () => client.body(1).length === bytes);
    }
    assert.equal(await client.status(1), "0");
    assert.deepEqual(client.messages(1).map(String), ["hello"]);
  });

  it("sends no more than the window of the connection and shares it between streams in turn", async () => {
    const client = await connect([Setting.InitialWindowSize, 1_000_000]);
    for (const id of [1, 3, 5]) client.send(longCall(id, EchoPath.Unary, Buffer.alloc(60_000, `${id}`)));
    await client.until("65535 bytes", () => client.body(1).length + client.body(3).length === 65_535);
    assert.equal(client.body(5).length, 0);
    client.send(frame(WindowUpdate, 0, 0, uint32(10_000)));
    await client.until("10000 more", () => client.body(3).length === 15_530);
    client.send(frame(WindowUpdate, 0, 0, uint32(10_000)));
    await client.until("the other's turn", () => client.body(5).length === 10_000);
    client.send(frame(WindowUpdate, 0, 0, uint32(10_000)));
    await client.until("the first one's turn", () => client.body(3).length === 25_530);
    client.send(frame(WindowUpdate, 0, 0, uint32(1_000_000)));
    for (const id of [1, 3, 5]) assert.equal(await client.status(id), "0");
    for (const id of [1, 3, 5]) assert.deepEqual(client.messages(id), [Buffer.alloc(60_000, `${id}`)]);
  });

  it("counts small messages against the window of the connection too", async () => {
    const client = await connect([Setting.InitialWindowSize, 1_000_000]);
    client.send(wholeCall(1, EchoPath.Pour, "200 995"));
    await client.until("the window's bytes", () => client.body(1).length >= 65_535);
    client.send(frame(FrameType.Ping, 0, 0, Buffer.alloc(8)));
    await client.frame("PING", ({ type }) => type === FrameType.Ping);
    assert.equal(client.body(1).length, 65_535);
    client.send(frame(WindowUpdate, 0, 0, uint32(1_000_000)));
    assert.equal(await client.status(1), "0");
    assert.equal(client.messages(1).length, 200);
  });

  it("takes back window that a later SETTINGS shrinks, and gives what it widens", async () => {
    const client = await connect([Setting.InitialWindowSize, 8]);
    client.send(wholeCall(1, EchoPath.Unary, "0123456789"));
    await client.until("eight bytes", () => client.body(1).length === 8);
    // 8 sent: the window is now -4, so 4 give nothing.
    client.send(frame(Settings, 0, 0, setting(Setting.InitialWindowSize, 4)), frame(WindowUpdate, 0, 1, uint32(4)));
    client.send(frame(FrameType.Ping, 0, 0, Buffer.alloc(8)));
    await client.frame("PING", ({ type }) => type === FrameType.Ping);
    assert.equal(client.body(1).length, 8);
    client.send(frame(Settings, 0, 0, setting(Setting.InitialWindowSize, 100)));
    assert.equal(await client.status(1), "0");
    assert.deepEqual(client.messages(1).map(String), ["0123456789"]);
  });

  it("cuts messages into frames that the client takes", async () => {
    const client = await connect([Setting.InitialWindowSize, 1_000_000], [Setting.MaxFrameSize, 20_000]);
    client.send(longCall(1, EchoPath.Unary, Buffer.alloc(50_000)));
    assert.equal(await client.status(1), "0");
    const sizes = client.frames.filter(({ type }) => type === Data).map(({ payload }) => payload.length);
    assert.deepEqual(sizes, [20_000, 20_000, 10_005]);
  });

  it("tells a method to wait and when there is room again, and holds at most one message meanwhile", async () => {
    const client = await connect();
    client.send(wholeCall(1, EchoPath.Pour, "100 10000"));
    for (let granted = 65_535; client.messages(1).length < 100; granted += 30_000) {
      await client.until("the window's bytes", () => client.body(1).length >= Math.min(granted, 100 * 10_005));
      assert.ok(client.body(1).length <= granted, "more than the window");
      client.send(frame(WindowUpdate, 0, 0, uint32(30_000)), frame(WindowUpdate, 0, 1, uint32(30_000)));
    }
    assert.equal(await client.status(1), "0");
    assert.ok(engine.waits >= 20, `${engine.waits}`);
  });

  it("ends a call whose method pours on although the client takes nothing", async () => {
    engine.stop();
    engine = await EchoEngine.start({ limits: { queuedBytesPerCallMax: 100_000 } });
    const client = await connect([Setting.InitialWindowSize, 0]);
    client.send(wholeCall(1, EchoPath.Park, ""));
    await waitUntil("the parked call", () => engine.parked.length === 1);
    const call = engine.parked[0]!;
    for (let i = 0; i < 20 && call.isOpen; i++) call.send(Buffer.alloc(10_000));
    assert.equal(call.isOpen, false);
    assert.equal(await client.status(1), String(GrpcStatus.ResourceExhausted));
    assert.equal(engine.cancelled.length, 1);
  });

  it("stops reading from a client that does not read, and loses nothing when it reads again", async () => {
    const client = await connect([Setting.InitialWindowSize, 0x7fff_ffff]);
    client.send(frame(WindowUpdate, 0, 0, uint32(0x7fff_ffff - 65_535)));
    await client.frame("our SETTINGS", ({ type }) => type === Settings);
    client.socket.pause();
    const message = Buffer.alloc(1_000_000, "r");
    let sent = 0;
    // Until the kernel takes no more from us: the engine has stopped reading.
    for (let id = 1; sent < 40 && client.socket.writableLength < 4_000_000; id += 2, sent++) {
      client.send(longCall(id, EchoPath.Unary, message));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(engine.messages(EchoPath.Unary) < 40);
    client.socket.resume();
    for (let i = 0; i < sent; i++) assert.equal(await client.status(1 + 2 * i), "0");
    assert.equal(client.messages(1 + 2 * (sent - 1))[0]!.length, 1_000_000);
  });

  it("renews both windows while a large message comes, in large steps", async () => {
    const client = await connect();
    const message = Buffer.alloc(3_000_000);
    client.send(frame(WindowUpdate, 0, 0, uint32(10_000_000)));
    const headers = headersFrame(1, callFields(EchoPath.Park));
    client.send(headers);
    await client.frame("our window", ({ type, streamId }) => type === WindowUpdate && streamId === 0);
    const bytes = grpcMessage(message);
    const window = 1024 * 1024;
    const renewals = () =>
      client.frames.filter((f) => f.type === WindowUpdate && f.streamId === 1).map((f) => f.payload.readUInt32BE(0));
    for (let at = 0; at < bytes.length; at += 16_384) {
      const part = bytes.subarray(at, at + 16_384);
      const total = () => window + renewals().reduce((sum, n) => sum + n, 0);
      await client.until("room in the window", () => total() >= at + part.length);
      client.send(frame(Data, at + part.length === bytes.length ? EndStream : 0, 1, part));
    }
    await waitUntil("the message", () => engine.parked.length === 1);
    assert.ok(renewals().length >= 3 && renewals().length <= 6, `${renewals()}`);
  });

  const overflows: Readonly<Record<string, () => Buffer[]>> = {
    "DATA beyond the stream's window": () => {
      const fields: Fields = [
        [":method", "POST"],
        [":scheme", "http"],
        [":path", "/"],
      ];
      // The discarded body of what is no gRPC is granted no new window: 65 frames of 16 KiB exceed 1 MiB.
      const frames = [headersFrame(3, fields)];
      for (let i = 0; i < 65; i++) frames.push(frame(Data, 0, 3, Buffer.alloc(16_384)));
      return frames;
    },
    "a stream window above 2^31-1": () => [
      headersFrame(3, callFields(EchoPath.Bidi)),
      frame(WindowUpdate, 0, 3, uint32(0x7fff_ffff)),
    ],
  };
  for (const [what, frames] of Object.entries(overflows)) {
    it(`resets the stream: ${what}`, async () => {
      const client = await connect();
      client.send(...frames());
      assert.equal(await client.status(3), `reset ${Http2Error.FlowControlError}`);
      client.send(wholeCall(5, EchoPath.Unary, "x"));
      assert.equal(await client.status(5), "0");
    });
  }
});
