import assert from "node:assert/strict";
import { frameBytesMax, frameHeaderBytes } from "../../../../proto/frame/frame.ts";
import { FrameError, FrameParser } from "../../../../proto/frame/frame-parser.ts";
import fc from "../../../support/seeded-fast-check.ts";

interface Frame {
  readonly kind: number;
  readonly status: number;
  readonly correlation: number;
  readonly body: string;
}

const frame: fc.Arbitrary<Frame> = fc.record(
  {
    kind: fc.nat(255),
    status: fc.nat(65_535),
    correlation: fc.nat(0xffff_ffff),
    body: fc.oneof(
      { weight: 9, arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString("hex")) },
      { weight: 1, arbitrary: fc.constant("ab".repeat(20_000)) },
    ),
  },
  { noNullPrototype: true },
);

describe("A frame parser", () => {
  it("gives the same frames however the bytes are split", () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 12 }), fc.infiniteStream(fc.nat(300)), (frames, steps) => {
        const bytes = Buffer.concat(frames.map(encode));
        const { parser, received } = collect();
        for (let at = 0; at < bytes.length; ) {
          const step = 1 + (steps.next().value as number);
          const end = Math.min(bytes.length, at + step);
          // A fresh copy per chunk that is overwritten afterwards: a parser that keeps a view of it is found out.
          const chunk = Buffer.from(bytes.subarray(at, end));
          parser.push(chunk);
          chunk.fill(0xee);
          at = end;
        }
        assert.deepEqual(received, frames);
        assert.equal(parser.heldBytes, 0);
      }),
      { numRuns: 300 },
    );
  });

  it("parses a range in the middle of a larger buffer", () => {
    const bytes = encode({ kind: 18, status: 0, correlation: 7, body: "c0ffee" });
    const { parser, received } = collect();
    const padded = Buffer.concat([Buffer.alloc(5, 0xff), bytes, Buffer.alloc(5, 0xff)]);
    parser.push(padded, 5, 5 + bytes.length);
    assert.equal(received.length, 1);
    assert.equal(received[0]?.body, "c0ffee");
  });

  it("ends at once on lengths that no frame can have, before it holds a byte for them", () => {
    for (const length of [0, 7, frameBytesMax - 3, 0x7fff_ffff, 0xffff_ffff]) {
      const { parser, received } = collect();
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(length);
      for (let i = 0; i < 3; i++) parser.push(bytes.subarray(i, i + 1));
      assert.throws(() => parser.push(bytes.subarray(3)), FrameError, `length ${length}`);
      assert.equal(parser.heldBytes, 0);
      parser.push(encode({ kind: 1, status: 0, correlation: 1, body: "" }));
      assert.equal(received.length, 0, "nothing is handed on after an error");
    }
  });

  it("holds no more memory than bytes have come, whatever length is announced", () => {
    const { parser } = collect();
    const header = Buffer.alloc(frameHeaderBytes);
    header.writeUInt32BE(frameBytesMax - 4);
    const before = process.memoryUsage().arrayBuffers;
    parser.push(header);
    assert.equal(parser.heldBytes, frameHeaderBytes);
    assert.ok(process.memoryUsage().arrayBuffers - before < 64 * 1024);
  });

  it("hands on nothing after its sink has stopped it, not even the rest of the same chunk", () => {
    let count = 0;
    const parser = new FrameParser({
      onFrame: () => {
        count++;
        parser.stop();
      },
    });
    const one = encode({ kind: 1, status: 0, correlation: 1, body: "00" });
    parser.push(Buffer.concat([one, one, one.subarray(0, 6)]));
    parser.push(one.subarray(6));
    assert.equal(count, 1);
    assert.equal(parser.heldBytes, 0);
  });

  it("either hands on frames or throws FrameError on arbitrary bytes, and never reads past a chunk", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 20 }), (chunks) => {
        let bodyBytes = 0;
        let pushed = 0;
        const parser = new FrameParser({
          onFrame: (_kind, _status, _correlation, bytes, start, end) => {
            assert.ok(start <= end && end <= bytes.length);
            bodyBytes += end - start + frameHeaderBytes;
          },
        });
        try {
          for (const chunk of chunks) {
            pushed += chunk.length;
            parser.push(Buffer.from(chunk));
          }
        } catch (error) {
          assert.ok(error instanceof FrameError);
          return;
        }
        assert.equal(bodyBytes + parser.heldBytes, pushed);
      }),
      { numRuns: 2000 },
    );
  });
});

function collect(): { parser: FrameParser; received: Frame[] } {
  const received: Frame[] = [];
  const parser = new FrameParser({
    onFrame: (kind, status, correlation, bytes, start, end) => {
      received.push({ kind, status, correlation, body: bytes.toString("hex", start, end) });
    },
  });
  return { parser, received };
}

function encode(frame: Frame): Buffer {
  const body = Buffer.from(frame.body, "hex");
  const bytes = Buffer.alloc(frameHeaderBytes + body.length);
  bytes.writeUInt32BE(frameHeaderBytes - 4 + body.length, 0);
  bytes[4] = frame.kind;
  bytes.writeUInt16BE(frame.status, 6);
  bytes.writeUInt32BE(frame.correlation, 8);
  body.copy(bytes, frameHeaderBytes);
  return bytes;
}
