import assert from "node:assert/strict";
import { once } from "node:events";
import { type ClientHttp2Session, connect } from "node:http2";
import { connectionPreface, FrameFlag, FrameType, Setting } from "../../sidecar/listener/http2/frame.ts";
import { HpackDecoder } from "../../sidecar/listener/http2/hpack-decoder.ts";
import { HpackEncoder } from "../../sidecar/listener/http2/hpack-encoder.ts";
import { percentEncode } from "../../sidecar/listener/http2/response-writer.ts";
import { ManualClock } from "../support/manual-clock.ts";
import fc from "../support/seeded-fast-check.ts";
import { EchoEngine, EchoPath } from "../unit/sidecar/listener/http2/echo-engine.ts";
import {
  callFields,
  frame,
  grpcMessage,
  headerBlock,
  setting,
  uint32,
} from "../unit/sidecar/listener/http2/raw-client.ts";
import { WiredConnection } from "../unit/sidecar/listener/http2/wired-connection.ts";

const run = { numRuns: 200 };
const { Continuation, Data, Headers, Ping, Priority, Settings, WindowUpdate } = FrameType;
const { EndHeaders, EndStream, Padded } = FrameFlag;

/** One call as a client might send it: which method, its messages, how its frames are cut, what comes between them. */
interface AnyCall {
  readonly path: string;
  readonly messages: readonly Uint8Array[];
  readonly headerCut: number;
  readonly dataBytes: number;
  readonly padding: number | undefined;
  readonly between: string;
  readonly endsApart: boolean;
}

const anyCall: fc.Arbitrary<AnyCall> = fc.record({
  path: fc.constantFrom(EchoPath.Unary, EchoPath.Stream, EchoPath.Bidi, EchoPath.Fail, "/no.Such/Method"),
  messages: fc.array(fc.uint8Array({ maxLength: 3000 }), { minLength: 1, maxLength: 4 }),
  headerCut: fc.nat(80),
  dataBytes: fc.integer({ min: 1, max: 4000 }),
  padding: fc.option(fc.nat(255), { nil: undefined }),
  between: fc.constantFrom("nothing", "ping", "unknown", "priority", "window", "settings", "empty"),
  endsApart: fc.boolean(),
});

function between(what: string, streamId: number): Buffer {
  switch (what) {
    case "ping":
      return frame(Ping, 0, 0, Buffer.alloc(8, streamId));
    case "unknown":
      return frame(0x55, 0xff, streamId, "?");
    case "priority":
      return frame(Priority, 0, streamId, Buffer.concat([uint32(0), Buffer.of(5)]));
    case "window":
      return frame(WindowUpdate, 0, 0, uint32(100_000));
    case "settings":
      return frame(Settings, 0, 0, setting(Setting.HeaderTableSize, (streamId * 37) % 300));
    case "empty":
      return frame(Data, 0, streamId, "");
    default:
      return Buffer.alloc(0);
  }
}

function callBytes(call: AnyCall, streamId: number): Buffer {
  const block = headerBlock(callFields(call.path));
  const cut = Math.min(call.headerCut, block.length);
  const body = Buffer.concat(call.messages.map((message) => grpcMessage(Buffer.from(message))));
  const frames = [
    frame(Headers, 0, streamId, block.subarray(0, cut)),
    frame(Continuation, EndHeaders, streamId, block.subarray(cut)),
  ];
  for (let at = 0; at < body.length; at += call.dataBytes) {
    const part = body.subarray(at, at + call.dataBytes);
    const flags = at + part.length === body.length && !call.endsApart ? EndStream : 0;
    if (call.padding === undefined) frames.push(frame(Data, flags, streamId, part));
    else {
      const payload = Buffer.concat([Buffer.of(call.padding), part, Buffer.alloc(call.padding)]);
      frames.push(frame(Data, flags | Padded, streamId, payload));
    }
    frames.push(between(call.between, streamId));
  }
  if (call.endsApart) frames.push(frame(Data, EndStream, streamId, ""));
  return Buffer.concat(frames);
}

const begin = Buffer.concat([
  connectionPreface,
  frame(Settings, 0, 0, setting(Setting.InitialWindowSize, 1 << 20)),
  frame(WindowUpdate, 0, 0, uint32(1 << 24)),
]);

function answersTo(...reads: readonly Buffer[]): Buffer {
  const wired = new WiredConnection(new EchoEngine({ clock: new ManualClock() }));
  for (const bytes of reads) wired.read(bytes);
  const { written } = wired;
  wired.close();
  return written;
}

/** Cuts `bytes` at these positions. */
function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const positions = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...positions].map((start, i) => bytes.subarray(start, positions[i] ?? bytes.length));
}

/** Type and stream of every frame; fails unless `bytes` are whole frames whose header blocks can be decoded. */
function framesOf(bytes: Buffer): (readonly [type: number, streamId: number])[] {
  const decoder = new HpackDecoder(4096, 1 << 20, 1000);
  const frames: (readonly [number, number])[] = [];
  let at = 0;
  while (at < bytes.length) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    assert.ok(end <= bytes.length, "the engine wrote half a frame");
    if (bytes[at + 3] === Headers)
      assert.ok(decoder.decode(bytes, at + 9, end), "the engine wrote a broken header block");
    frames.push([bytes[at + 3]!, bytes.readUInt32BE(at + 5)]);
    at = end;
  }
  return frames;
}

describe("the HTTP/2 engine", () => {
  it("gives the same answers however the client's bytes are cut, with every read's memory used again", () => {
    fc.assert(
      fc.property(
        fc.array(anyCall, { minLength: 1, maxLength: 6 }),
        fc.array(fc.nat(1 << 20), { maxLength: 40 }),
        (calls, cuts) => {
          const bytes = Buffer.concat([begin, ...calls.map((call, i) => callBytes(call, 1 + 2 * i))]);
          const whole = answersTo(bytes);
          assert.deepEqual(answersTo(...cutAt(bytes, cuts)), whole);
          const frames = framesOf(whole);
          calls.forEach((_call, i) => {
            assert.ok(
              frames.some(([type, id]) => type === Headers && id === 1 + 2 * i),
              `call ${i} was not answered`,
            );
          });
        },
      ),
      run,
    );
  });

  it("gives the same answers byte by byte", () => {
    fc.assert(
      fc.property(anyCall, (call) => {
        const bytes = Buffer.concat([begin, callBytes({ ...call, messages: call.messages.slice(0, 2) }, 1)]);
        assert.deepEqual(answersTo(...Array.from(bytes, (byte) => Buffer.of(byte))), answersTo(bytes));
      }),
      { ...run, numRuns: 30 },
    );
  });

  it("survives damaged bytes: it throws nothing, writes whole frames, keeps no call and no memory", () => {
    const damage = fc.record({ at: fc.nat(1 << 20), drop: fc.nat(20), put: fc.uint8Array({ maxLength: 20 }) });
    fc.assert(
      fc.property(
        fc.array(anyCall, { minLength: 1, maxLength: 4 }),
        fc.array(damage, { minLength: 1, maxLength: 5 }),
        fc.array(fc.nat(1 << 20), { maxLength: 5 }),
        (calls, damages, cuts) => {
          let bytes: Buffer = Buffer.concat(calls.map((call, i) => callBytes(call, 1 + 2 * i)));
          for (const { at, drop, put } of damages) {
            const from = at % (bytes.length + 1);
            bytes = Buffer.concat([bytes.subarray(0, from), put, bytes.subarray(from + drop)]);
          }
          const engine = new EchoEngine({ clock: new ManualClock() });
          const wired = new WiredConnection(engine);
          for (const read of [begin, ...cutAt(bytes, cuts)]) wired.read(read);
          framesOf(wired.written);
          wired.close();
          assert.equal(wired.connection.streamCount, 0);
          assert.equal(engine.server.inflight.used, 0);
          assert.equal(engine.server.wheel.count, 0);
        },
      ),
      { ...run, numRuns: 500 },
    );
  });

  it("decodes what it encodes, whatever table sizes the peer announces between blocks", () => {
    const text = fc.string({
      unit: fc.integer({ min: 33, max: 126 }).map((c) => String.fromCharCode(c)),
      maxLength: 60,
    });
    const field = fc.tuple(
      text.map((t) => `x-${t.toLowerCase().replaceAll(":", "")}`),
      text,
      fc.boolean(),
    );
    const step = fc.record({
      sizes: fc.array(fc.integer({ min: 0, max: 5000 }), { maxLength: 3 }),
      fields: fc.array(field, { maxLength: 8 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const encoder = new HpackEncoder();
        const decoder = new HpackDecoder(4096, 1 << 20, 1000);
        const into = Buffer.alloc(1 << 16);
        for (const { sizes, fields } of steps) {
          for (const size of sizes) encoder.setTableBytes(size);
          let at = encoder.begin(into, 0);
          for (const [name, value, isRepeated] of fields) at = encoder.field(into, at, name, value, isRepeated);
          assert.ok(decoder.decode(into, 0, at));
          assert.deepEqual(
            decoder.fields.map(({ name, value }) => [name.text, value]),
            fields.map(([name, value]) => [name, value]),
          );
          const last = sizes.at(-1);
          if (last !== undefined) assert.ok(decoder.tableBytes <= last);
        }
      }),
      run,
    );
  });

  it("percent-encodes any text so that decodeURIComponent gives it back", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 200 }), (text) => {
        const encoded = percentEncode(text);
        assert.match(encoded, /^[\x20-\x24\x26-\x7e%]*$/);
        assert.equal(decodeURIComponent(encoded), text);
      }),
      run,
    );
  });
});

describe("the HTTP/2 engine beside node:http2", () => {
  let engine: EchoEngine;
  let session: ClientHttp2Session;

  before(async () => {
    engine = await EchoEngine.start();
    session = connect(`http://127.0.0.1:${engine.port}`, { settings: { headerTableSize: 200 } });
    await once(session, "connect");
  });

  after(() => {
    session.destroy();
    engine.stop();
  });

  /** Calls with these headers; answers with the body and the decoded `grpc-message`. */
  function call(path: string, body: Buffer, headers: Readonly<Record<string, string>>) {
    return new Promise<{ body: Buffer; message: string | undefined }>((resolve, reject) => {
      const stream = session.request({
        ":method": "POST",
        ":path": path,
        "content-type": "application/grpc",
        te: "trailers",
        ...headers,
      });
      const chunks: Buffer[] = [];
      let message: string | undefined;
      const note = (fields: { readonly [name: string]: unknown }) => {
        if (typeof fields["grpc-message"] === "string") message = decodeURIComponent(fields["grpc-message"]);
      };
      stream.on("response", note);
      stream.on("trailers", note);
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("error", reject);
      stream.on("end", () => resolve({ body: Buffer.concat(chunks), message }));
      stream.end(body);
    });
  }

  it("reads any header that nghttp2 encodes, and nghttp2 reads any status text of ours", async () => {
    const printable = fc.string({
      unit: fc.integer({ min: 33, max: 126 }).map((c) => String.fromCharCode(c)),
      maxLength: 300,
    });
    await fc.assert(
      fc.asyncProperty(printable, printable, fc.string({ maxLength: 100 }), async (first, second, text) => {
        const headers = { "x-first": first, "x-second": second };
        for (const [name, value] of Object.entries(headers)) {
          const { body } = await call(EchoPath.Header, grpcMessage(name), headers);
          assert.equal(body.subarray(5).toString("latin1"), value);
        }
        const status = await call(EchoPath.Fail, grpcMessage(`9 ${text}`), headers);
        assert.equal(status.message ?? "", text);
      }),
      { ...run, numRuns: 60 },
    );
  });

  it("echoes bodies of any size while nghttp2 cuts and acknowledges as it likes", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 200_000 }), { minLength: 1, maxLength: 5 }),
        async (sizes) => {
          const bodies = sizes.map((size, i) => grpcMessage(Buffer.alloc(size, i + 1)));
          const answers = await Promise.all(bodies.map((body) => call(EchoPath.Unary, body, {})));
          answers.forEach(({ body }, i) => {
            assert.ok(body.equals(bodies[i]!), `body ${i}`);
          });
        },
      ),
      { ...run, numRuns: 20 },
    );
  });
});
