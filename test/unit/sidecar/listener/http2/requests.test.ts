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

const { Data, Headers, Continuation, RstStream } = FrameType;
const { EndStream, EndHeaders, Padded } = FrameFlag;

describe("requests on the engine", () => {
  let engine: EchoEngine;
  let client: RawClient;

  beforeEach(async () => {
    engine = await EchoEngine.start();
    client = await RawClient.connect(engine.port);
  });

  afterEach(() => {
    client.close();
    engine.stop();
  });

  it("answers a unary call with head, one DATA frame and trailers", async () => {
    client.send(wholeCall(1, EchoPath.Unary, "hello"));
    await client.end(1);
    const frames = client.frames.filter(({ streamId }) => streamId === 1);
    assert.deepEqual(
      frames.map(({ type, flags }) => [type, flags]),
      [
        [Headers, EndHeaders],
        [Data, 0],
        [Headers, EndHeaders | EndStream],
      ],
    );
    assert.deepEqual(frames[0]!.fields, { ":status": "200", "content-type": "application/grpc" });
    assert.deepEqual(frames[1]!.payload, grpcMessage("hello"));
    assert.deepEqual(frames[2]!.fields, { "grpc-status": "0" });
  });

  it("writes the second answer's headers with one byte per field", async () => {
    client.send(
      wholeCall(1, EchoPath.Unary, "a"),
      wholeCall(3, EchoPath.Unary, "b"),
      wholeCall(5, EchoPath.Unary, "c"),
    );
    await client.end(5);
    const sizes = client.frames.filter((f) => f.streamId === 5 && f.type === Headers).map((f) => f.payload.length);
    assert.deepEqual(sizes, [2, 1]);
  });

  it("joins a message from many DATA frames, padded or not, with the prefix cut in two", async () => {
    const bytes = grpcMessage("a message in pieces");
    client.send(headersFrame(1, callFields(EchoPath.Unary)));
    client.send(frame(Data, 0, 1, bytes.subarray(0, 2)), frame(Data, 0, 1, ""));
    client.send(frame(Data, Padded, 1, Buffer.concat([Buffer.of(7), bytes.subarray(2, 9), Buffer.alloc(7)])));
    client.send(frame(Data, EndStream | Padded, 1, Buffer.concat([Buffer.of(0), bytes.subarray(9)])));
    assert.equal(await client.status(1), "0");
    assert.deepEqual(client.messages(1).map(String), ["a message in pieces"]);
  });

  it("holds a whole unary message until the client half-closes, by an empty DATA frame or by trailers", async () => {
    client.send(headersFrame(1, callFields(EchoPath.Unary)), frame(Data, 0, 1, grpcMessage("one")));
    client.send(headersFrame(3, callFields(EchoPath.Unary)), frame(Data, 0, 3, grpcMessage("two")));
    client.send(wholeCall(5, EchoPath.Unary, "three"));
    await client.end(5);
    assert.equal(engine.messages(EchoPath.Unary), 1);
    client.send(frame(Data, EndStream, 1, ""), headersFrame(3, [["x-end", "1"]], EndHeaders | EndStream));
    assert.equal(await client.status(3), "0");
    assert.deepEqual([client.messages(1), client.messages(3)].flat().map(String), ["one", "two"]);
  });

  it("hands several messages of one DATA frame to a bidi method, and the last with the half-close", async () => {
    client.send(headersFrame(1, callFields(EchoPath.Bidi)));
    client.send(frame(Data, 0, 1, Buffer.concat([grpcMessage("1"), grpcMessage(""), grpcMessage("3")])));
    await client.until("three answers", () => client.messages(1).length === 3);
    client.send(frame(Data, EndStream, 1, grpcMessage("4")));
    assert.equal(await client.status(1), "0");
    assert.deepEqual(client.messages(1).map(String), ["1", "", "3", "4"]);
    assert.ok(!client.frames.some(({ type }) => type === RstStream));
  });

  it("puts a header block together from CONTINUATION frames, even empty ones", async () => {
    const block = headerBlock(callFields(EchoPath.Unary));
    client.send(frame(Headers, 0, 1, block.subarray(0, 10)), frame(Continuation, 0, 1, ""));
    client.send(
      frame(Continuation, 0, 1, block.subarray(10, 50)),
      frame(Continuation, EndHeaders, 1, block.subarray(50)),
    );
    client.send(frame(Data, EndStream, 1, grpcMessage("x")));
    assert.equal(await client.status(1), "0");
  });

  it("keeps a call's headers when the client's table has moved on long ago", async () => {
    const block = Buffer.concat([
      headerBlock(callFields(EchoPath.Bidi)),
      Buffer.from("40", "hex"),
      Buffer.from("\x03x-a\x05first", "latin1"),
    ]);
    client.send(frame(Headers, EndHeaders, 1, block));
    for (let id = 3; id < 400; id += 2) {
      const more = Buffer.concat([
        Buffer.of(0x40),
        Buffer.from(`\x03x-a\x20${String(id).padStart(32, "0")}`, "latin1"),
      ]);
      const fields = Buffer.concat([headerBlock(callFields(EchoPath.Unary)), more]);
      client.send(frame(Headers, EndHeaders, id, fields), frame(Data, EndStream, id, grpcMessage("")));
    }
    await client.end(399);
    assert.equal(engine.parked[0]!.header("x-a"), "first");
  });

  const refusals: readonly (readonly [what: string, bytes: () => Buffer[], expected: string, message: RegExp])[] = [
    ["an unknown path", () => [wholeCall(1, "/no.Such/Method", "")], "12", /\/no\.Such\/Method/],
    [
      "a grpc-encoding other than identity, before the body comes",
      () => [headersFrame(1, callFields(EchoPath.Unary, [["grpc-encoding", "gzip"]]))],
      "12",
      /gzip/,
    ],
    [
      "the compressed flag",
      () => [headersFrame(1, callFields(EchoPath.Unary)), frame(Data, 0, 1, grpcMessage("x", 1))],
      "12",
      /identity/,
    ],
    [
      "an unknown message flag",
      () => [headersFrame(1, callFields(EchoPath.Unary)), frame(Data, 0, 1, grpcMessage("x", 2))],
      "13",
      /flag/,
    ],
    [
      "a message above the limit, by its prefix alone",
      () => [
        headersFrame(1, callFields(EchoPath.Unary)),
        frame(Data, 0, 1, Buffer.concat([Buffer.of(0), uint32(echoBytesMax + 1)])),
      ],
      "8",
      /4194305/,
    ],
    [
      "the same when the prefix comes in two pieces",
      () => [
        headersFrame(1, callFields(EchoPath.Unary)),
        frame(Data, 0, 1, Buffer.from([0, 0xff])),
        frame(Data, 0, 1, Buffer.from([0xff, 0xff, 0xff])),
      ],
      "8",
      /4294967295/,
    ],
    [
      "a unary call without a message",
      () => [headersFrame(1, callFields(EchoPath.Unary), EndHeaders | EndStream)],
      "12",
      /exactly one/,
    ],
    [
      "a unary call with two messages",
      () => [
        headersFrame(1, callFields(EchoPath.Unary)),
        frame(Data, EndStream, 1, Buffer.concat([grpcMessage("1"), grpcMessage("2")])),
      ],
      "12",
      /exactly one/,
    ],
    [
      "a request that ends inside a message",
      () => [
        headersFrame(1, callFields(EchoPath.Unary)),
        frame(Data, EndStream, 1, grpcMessage("whole").subarray(0, 7)),
      ],
      "13",
      /middle/,
    ],
    [
      "a malformed grpc-timeout",
      () => [wholeCall(1, EchoPath.Unary, "", [["grpc-timeout", "5 S"]])],
      "3",
      /grpc-timeout/,
    ],
    ["a call without time left", () => [wholeCall(1, EchoPath.Unary, "", [["grpc-timeout", "0S"]])], "4", /time/],
  ];
  for (const [what, bytes, expected, message] of refusals) {
    it(`refuses ${what} with status ${expected}`, async () => {
      client.send(...bytes());
      assert.equal(await client.status(1), expected);
      const { fields } = await client.end(1);
      assert.match(fields["grpc-message"] ?? "", message);
      assert.equal(fields["content-type"], "application/grpc");
      if (message.source.includes("gzip") || message.source.includes("identity")) {
        assert.equal(fields["grpc-accept-encoding"], "identity");
      }
      assert.equal(engine.messages(EchoPath.Unary), 0);
      client.send(wholeCall(3, EchoPath.Unary, "goes on"));
      assert.equal(await client.status(3), "0");
    });
  }

  const tooLong = Buffer.concat([Buffer.of(0), uint32(echoBytesMax + 1)]);
  const early: Readonly<Record<string, Buffer>> = {
    "a refused request": headersFrame(1, callFields("/no.Such/Method")),
    "a refused message": Buffer.concat([headersFrame(1, callFields(EchoPath.Unary)), frame(Data, 0, 1, tooLong)]),
  };
  for (const [what, bytes] of Object.entries(early)) {
    it(`tells a client that still sends to stop after ${what}, and ignores what was under way`, async () => {
      client.send(bytes);
      const reset = await client.frame("RST_STREAM", ({ type }) => type === RstStream);
      assert.equal(reset.payload.readUInt32BE(0), Http2Error.NoError);
      client.send(frame(Data, 0, 1, Buffer.alloc(1000)), frame(FrameType.WindowUpdate, 0, 1, uint32(10)));
      client.send(frame(Data, EndStream, 1, ""), wholeCall(3, EchoPath.Unary, "x"));
      assert.equal(await client.status(3), "0");
      assert.equal(client.frames.filter(({ type }) => type === RstStream).length, 1);
    });
  }

  it("uses the client's table no longer when the client takes it away, and again when it gives it back", async () => {
    const heads = () => client.frames.filter(({ type, flags }) => type === Headers && (flags & EndStream) === 0);
    for (const id of [1, 3, 5]) client.send(wholeCall(id, EchoPath.Unary, ""));
    await client.end(5);
    assert.deepEqual(
      heads().map(({ payload }) => payload.length > 2),
      [true, false, false],
    );
    client.send(frame(FrameType.Settings, 0, 0, setting(Setting.HeaderTableSize, 0)));
    for (const id of [7, 9]) client.send(wholeCall(id, EchoPath.Unary, ""));
    await client.end(9);
    assert.equal(heads()[3]!.payload[0], 0x20, "says that the table is empty");
    assert.ok(heads()[4]!.payload.length > 10, "a literal each time");
    client.send(frame(FrameType.Settings, 0, 0, setting(Setting.HeaderTableSize, 4096)));
    for (const id of [11, 13, 15]) client.send(wholeCall(id, EchoPath.Unary, ""));
    await client.end(15);
    assert.deepEqual([heads()[5]!.payload[0], heads()[7]!.payload.length], [0x3f, 2]);
  });

  const post = callFields(EchoPath.Unary);
  const without = (name: string): Fields => post.filter(([n]) => n !== name);
  const malformed: Readonly<Record<string, Fields>> = {
    "no :method": without(":method"),
    "no :scheme": without(":scheme"),
    "no :path": without(":path"),
    "an empty :path": [...without(":path"), [":path", ""]].sort() as Fields,
    "two :path": [[":path", "/a"], ...post],
    "a pseudo-header behind a field": [["x-a", "b"], ...post],
    ":status": [[":status", "200"], ...post],
    "an unknown pseudo-header": [[":protocol", "x"], ...post],
    "an upper-case name": [...post, ["X-A", "b"]],
    "a name with a blank": [...post, ["x a", "b"]],
    "an empty name": [...post, ["", "b"]],
    connection: [...post, ["connection", "close"]],
    "transfer-encoding": [...post, ["transfer-encoding", "chunked"]],
    "te other than trailers": [...without("te"), ["te", "gzip"]],
    "a line break in a value": [...post, ["x-a", "b\r\nc: d"]],
    "NUL in a value": [...post, ["x-a", "b\0c"]],
    "a blank before a value": [...post, ["x-a", " b"]],
    "two content-lengths that differ": [...post, ["content-length", "7"], ["content-length", "6"]],
    "a content-length that is no number": [...post, ["content-length", "5x"]],
    "a content-length that the body exceeds": [...post, ["content-length", "3"]],
    "a content-length that the body does not reach": [...post, ["content-length", "100"]],
  };
  for (const [what, fields] of Object.entries(malformed)) {
    it(`resets a malformed request: ${what}`, async () => {
      client.send(headersFrame(1, fields), frame(Data, EndStream, 1, grpcMessage("x")));
      assert.equal(await client.status(1), `reset ${Http2Error.ProtocolError}`);
      client.send(wholeCall(3, EchoPath.Unary, "goes on"));
      assert.equal(await client.status(3), "0");
    });
  }

  for (const type of ["text/plain", "application/grpc-web", "application/grpc+json", "application/json", ""]) {
    it(`answers content-type "${type}" with HTTP 415 after the whole request`, async () => {
      client.send(headersFrame(1, [...without("content-type"), ["content-type", type]]), frame(Data, 0, 1, "abc"));
      client.send(wholeCall(3, EchoPath.Unary, "first"));
      await client.end(3);
      assert.ok(!client.frames.some(({ streamId }) => streamId === 1));
      client.send(frame(Data, EndStream, 1, "def"));
      await client.end(1);
      assert.equal(client.frames.find(({ streamId }) => streamId === 1)!.fields[":status"], "415");
      assert.match(client.body(1).toString(), /gRPC/);
    });
  }

  for (const type of ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"]) {
    it(`takes content-type "${type}"`, async () => {
      const fields: Fields = [...without("content-type"), ["content-type", type]];
      client.send(headersFrame(1, fields), frame(Data, EndStream, 1, grpcMessage("x")));
      assert.equal(await client.status(1), "0");
    });
  }

  it("answers HEAD without a body", async () => {
    client.send(
      headersFrame(
        1,
        [
          [":method", "HEAD"],
          [":scheme", "http"],
          [":path", "/"],
        ],
        EndHeaders | EndStream,
      ),
    );
    assert.equal(await client.status(1), "HTTP 415");
    assert.equal(client.body(1).length, 0);
  });

  it("answers HTTP/1.1 in its own words", async () => {
    const http1 = await RawClient.connect(engine.port, { hasPreface: false });
    http1.send(Buffer.from("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"));
    await http1.untilClosed();
    assert.match(http1.received.toString(), /^HTTP\/1\.1 400 .*HTTP\/2 only/s);
  });

  it("lets a method answer calls in any order and long after their turn", async () => {
    for (const id of [1, 3, 5]) client.send(wholeCall(id, EchoPath.Park, ""));
    await waitUntil("three parked calls", () => engine.parked.length === 3);
    for (const i of [2, 0, 1]) {
      engine.parked[i]!.send(Buffer.from(`${i}`));
      engine.parked[i]!.finish(0);
      engine.parked[i]!.finish(13, "twice");
      assert.equal(engine.parked[i]!.send(Buffer.from("late")), false);
    }
    for (const id of [1, 3, 5]) assert.equal(await client.status(id), "0");
    assert.deepEqual([5, 1, 3].flatMap((id) => client.messages(id)).map(String), ["2", "0", "1"]);
    assert.deepEqual(engine.cancelled, []);
  });

  it("tells every open call when the connection goes, and the owner after that", async () => {
    for (const id of [1, 3]) client.send(wholeCall(id, EchoPath.Park, ""));
    await waitUntil("two parked calls", () => engine.parked.length === 2);
    client.close();
    await waitUntil("the connection to be gone", () => engine.connections.size === 0);
    assert.deepEqual(
      engine.cancelled.map(({ reason }) => reason),
      ["connection-closed", "connection-closed"],
    );
    assert.equal(engine.server.callCount, 0);
    assert.equal(engine.server.connectionCount, 0);
  });
});
