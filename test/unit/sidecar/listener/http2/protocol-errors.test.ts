import assert from "node:assert/strict";
import {
  connectionPreface,
  FrameFlag,
  FrameType,
  Http2Error,
  Setting,
} from "../../../../../sidecar/listener/http2/frame.ts";
import { EchoEngine, EchoPath } from "./echo-engine.ts";
import { callFields, frame, grpcMessage, headersFrame, RawClient, setting, uint32, wholeCall } from "./raw-client.ts";

const { Continuation, Data, GoAway, Headers, Ping, Priority, PushPromise, RstStream, Settings, WindowUpdate } =
  FrameType;
const { Ack, EndHeaders, EndStream, Padded } = FrameFlag;
const { CompressionError, FlowControlError, FrameSizeError, ProtocolError, StreamClosed } = Http2Error;

/** What a client must not do to a connection, and the error code it is answered. */
const offences: readonly (readonly [what: string, code: number, bytes: () => Buffer])[] = [
  ["DATA on stream 0", ProtocolError, () => frame(Data, 0, 0, "x")],
  ["DATA on an idle stream", ProtocolError, () => frame(Data, 0, 3, "x")],
  ["DATA with more padding than payload", ProtocolError, () => padded(Data, 9)],
  ["DATA without its pad length", FrameSizeError, () => open(frame(Data, Padded, 1, ""))],
  ["HEADERS on stream 0", ProtocolError, () => headersFrame(0, callFields("/x"))],
  ["HEADERS on an even stream", ProtocolError, () => headersFrame(2, callFields("/x"))],
  [
    "HEADERS on a lower stream than before",
    StreamClosed,
    () => Buffer.concat([wholeCall(5, EchoPath.Unary, ""), wholeCall(3, EchoPath.Unary, "")]),
  ],
  ["HEADERS with more padding than payload", ProtocolError, () => padded(Headers, 9)],
  [
    "HEADERS that depend on themselves",
    ProtocolError,
    () => frame(Headers, EndHeaders | FrameFlag.Priority, 1, uint32PlusWeight(1)),
  ],
  [
    "HEADERS with less than a priority",
    FrameSizeError,
    () => frame(Headers, EndHeaders | FrameFlag.Priority, 1, "abc"),
  ],
  ["a header block that is no HPACK", CompressionError, () => frame(Headers, EndHeaders, 1, Buffer.of(0xbf))],
  [
    "another frame inside a header block",
    ProtocolError,
    () => Buffer.concat([frame(Headers, 0, 1, ""), frame(Ping, 0, 0, Buffer.alloc(8))]),
  ],
  [
    "CONTINUATION of another stream",
    ProtocolError,
    () => Buffer.concat([frame(Headers, 0, 1, ""), frame(Continuation, EndHeaders, 3, "")]),
  ],
  ["CONTINUATION without HEADERS", ProtocolError, () => frame(Continuation, EndHeaders, 1, "")],
  ["PRIORITY on stream 0", ProtocolError, () => frame(Priority, 0, 0, uint32PlusWeight(1))],
  ["PRIORITY of a wrong size on an idle stream", FrameSizeError, () => frame(Priority, 0, 1, "abc")],
  ["RST_STREAM on stream 0", ProtocolError, () => frame(RstStream, 0, 0, uint32(8))],
  ["RST_STREAM on an idle stream", ProtocolError, () => frame(RstStream, 0, 9, uint32(8))],
  ["RST_STREAM of a wrong size", FrameSizeError, () => open(frame(RstStream, 0, 1, "abc"))],
  ["SETTINGS on a stream", ProtocolError, () => frame(Settings, 0, 1, "")],
  ["SETTINGS of a wrong size", FrameSizeError, () => frame(Settings, 0, 0, "abc")],
  ["a SETTINGS acknowledgement with a payload", FrameSizeError, () => frame(Settings, Ack, 0, setting(1, 1))],
  ["SETTINGS_ENABLE_PUSH of 2", ProtocolError, () => frame(Settings, 0, 0, setting(Setting.EnablePush, 2))],
  [
    "SETTINGS_INITIAL_WINDOW_SIZE of 2^31",
    FlowControlError,
    () => frame(Settings, 0, 0, setting(Setting.InitialWindowSize, 2 ** 31)),
  ],
  [
    "SETTINGS_MAX_FRAME_SIZE of 16383",
    ProtocolError,
    () => frame(Settings, 0, 0, setting(Setting.MaxFrameSize, 16_383)),
  ],
  [
    "SETTINGS_MAX_FRAME_SIZE of 2^24",
    ProtocolError,
    () => frame(Settings, 0, 0, setting(Setting.MaxFrameSize, 2 ** 24)),
  ],
  [
    "SETTINGS that lift a stream's window above 2^31-1",
    FlowControlError,
    () =>
      open(
        Buffer.concat([
          frame(WindowUpdate, 0, 1, uint32(0x7fff_0000)),
          frame(Settings, 0, 0, setting(Setting.InitialWindowSize, 0x7fff_ffff)),
        ]),
      ),
  ],
  ["PUSH_PROMISE", ProtocolError, () => frame(PushPromise, EndHeaders, 1, uint32(2))],
  ["PING on a stream", ProtocolError, () => frame(Ping, 0, 1, Buffer.alloc(8))],
  ["PING of a wrong size", FrameSizeError, () => frame(Ping, 0, 0, "1234567")],
  ["GOAWAY on a stream", ProtocolError, () => frame(GoAway, 0, 1, Buffer.alloc(8))],
  ["GOAWAY of a wrong size", FrameSizeError, () => frame(GoAway, 0, 0, Buffer.alloc(7))],
  ["WINDOW_UPDATE of 0 on the connection", ProtocolError, () => frame(WindowUpdate, 0, 0, uint32(0))],
  ["WINDOW_UPDATE on an idle stream", ProtocolError, () => frame(WindowUpdate, 0, 7, uint32(1))],
  ["WINDOW_UPDATE of a wrong size", FrameSizeError, () => frame(WindowUpdate, 0, 0, "abc")],
  ["a connection window above 2^31-1", FlowControlError, () => frame(WindowUpdate, 0, 0, uint32(0x7fff_ffff))],
  ["a frame above the largest size", FrameSizeError, () => frame(Data, 0, 1, Buffer.alloc(16_385))],
];

/** What breaks one stream alone. Stream 1 is the one. */
const streamOffences: readonly (readonly [what: string, code: number, bytes: () => Buffer])[] = [
  ["DATA after END_STREAM", StreamClosed, () => Buffer.concat([parked(), frame(Data, 0, 1, "x")])],
  [
    "HEADERS after END_STREAM",
    StreamClosed,
    () => Buffer.concat([parked(), headersFrame(1, [["x", "y"]], EndHeaders | EndStream)]),
  ],
  ["trailers without END_STREAM", ProtocolError, () => open(headersFrame(1, [["x", "y"]]))],
  [
    "trailers with a pseudo-header",
    ProtocolError,
    () => open(headersFrame(1, [[":path", "y"]], EndHeaders | EndStream)),
  ],
  ["WINDOW_UPDATE of 0", ProtocolError, () => open(frame(WindowUpdate, 0, 1, uint32(0)))],
  ["PRIORITY on itself", ProtocolError, () => open(frame(Priority, 0, 1, uint32PlusWeight(1)))],
  ["PRIORITY of a wrong size", FrameSizeError, () => open(frame(Priority, 0, 1, "abc"))],
];

function open(more: Buffer): Buffer {
  return Buffer.concat([headersFrame(1, callFields(EchoPath.Bidi)), more]);
}

function parked(): Buffer {
  return wholeCall(1, EchoPath.Park, "");
}

function padded(type: number, padBytes: number): Buffer {
  return open(frame(type, Padded | EndHeaders, 1, Buffer.of(padBytes, 1, 2, 3)));
}

function uint32PlusWeight(value: number): Buffer {
  return Buffer.concat([uint32(value), Buffer.of(16)]);
}

describe("a client that breaks HTTP/2", () => {
  let engine: EchoEngine;
  let client: RawClient;
  let honest: RawClient;

  beforeEach(async () => {
    engine = await EchoEngine.start();
    client = await RawClient.connect(engine.port);
    honest = await RawClient.connect(engine.port);
  });

  afterEach(async () => {
    honest.send(wholeCall(1, EchoPath.Unary, "not disturbed"));
    assert.equal(await honest.status(1), "0");
    client.close();
    honest.close();
    engine.stop();
  });

  for (const [what, code, bytes] of offences) {
    it(`by ${what} is told ${code} and disconnected`, async () => {
      client.send(bytes(), frame(Ping, 0, 0, Buffer.alloc(8, 1)));
      assert.equal(await client.goAwayCode(), code);
      await client.untilClosed();
      assert.ok(!client.frames.some(({ type }) => type === Ping), "went on reading");
    });
  }

  for (const [what, code, bytes] of streamOffences) {
    it(`on one stream by ${what} has this stream reset with ${code}`, async () => {
      client.send(bytes());
      assert.equal(await client.status(1), `reset ${code}`);
      client.send(wholeCall(3, EchoPath.Unary, "goes on"));
      assert.equal(await client.status(3), "0");
      assert.equal(engine.server.callCount, 0);
    });
  }

  it("by a wrong preface, or a first frame that is not SETTINGS, is told so", async () => {
    const starts = [
      Buffer.from("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"),
      Buffer.concat([connectionPreface, frame(Ping, 0, 0, Buffer.alloc(8))]),
      Buffer.concat([connectionPreface, frame(Settings, Ack, 0, "")]),
    ];
    for (const start of starts) {
      const other = await RawClient.connect(engine.port, { hasPreface: false });
      other.send(start);
      assert.equal(await other.goAwayCode(), ProtocolError);
      await other.untilClosed();
    }
  });

  it("gets the reason in words", async () => {
    client.send(frame(Ping, 0, 5, Buffer.alloc(8)));
    const { payload } = await client.frame("GOAWAY", ({ type }) => type === GoAway);
    assert.match(payload.toString("utf8", 8), /PING on stream 5/);
  });

  it("does not by unknown frames, unknown settings, unknown flags and PRIORITY", async () => {
    client.send(frame(0xbe, 0xff, 0, "?"), frame(0xef, 0, 1, "?"), frame(Settings, 0, 0, setting(0x9999, 1)));
    client.send(frame(Priority, 0, 1, uint32PlusWeight(3)), frame(Ping, 0xfe, 0, Buffer.alloc(8)));
    client.send(
      headersFrame(1, callFields(EchoPath.Unary), EndHeaders | 0xd0),
      frame(Data, 0xf6 | EndStream, 1, grpcMessage("x")),
    );
    const pings = () => client.frames.filter(({ type }) => type === Ping).length;
    await client.until("the PING's answer", () => pings() === 1);
    assert.equal(client.frames.filter(({ type }) => type === GoAway).length, 0);
  });
});
