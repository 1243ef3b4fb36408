import assert from "node:assert/strict";
import { connectionPreface } from "../../../../../sidecar/listener/http2/frame.ts";
import { FrameReader, type FrameSink } from "../../../../../sidecar/listener/http2/frame-reader.ts";
import { frame } from "./raw-client.ts";

/** Writes down what a reader finds. */
class Notes implements FrameSink {
  readonly lines: string[] = [];
  isOver = false;

  onPreface(): void {
    this.lines.push("preface");
  }
  onNoPreface(): void {
    this.lines.push("no preface");
    this.isOver = true;
  }
  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    this.lines.push(`${type} ${flags} ${streamId} ${bytes.toString("hex", start, end)}`);
  }
  onOversizedFrame(type: number, payloadBytes: number): void {
    this.lines.push(`oversized ${type} ${payloadBytes}`);
    this.isOver = true;
  }
}

const stream = Buffer.concat([
  connectionPreface,
  frame(4, 0, 0, Buffer.alloc(0)),
  frame(1, 4, 1, Buffer.from("8286", "hex")),
  frame(0, 1, 0x7fff_ffff, Buffer.from("0102030405", "hex")),
  frame(200, 255, 3, Buffer.from("ff", "hex")),
]);
const expected = ["preface", "4 0 0 ", "1 4 1 8286", "0 1 2147483647 0102030405", "200 255 3 ff"];

function read(...parts: readonly Buffer[]): string[] {
  const notes = new Notes();
  const reader = new FrameReader(notes, 16_384);
  for (const part of parts) {
    // The socket's memory is used again after each read.
    const lent = Buffer.from(part);
    reader.read(lent);
    lent.fill(0xee);
  }
  return notes.lines;
}

describe("frame reader", () => {
  it("finds the same frames for every way to cut the bytes in two, and in three", () => {
    for (let a = 0; a <= stream.length; a++) {
      assert.deepEqual(read(stream.subarray(0, a), stream.subarray(a)), expected);
      for (let b = a; b <= stream.length; b += 3) {
        assert.deepEqual(read(stream.subarray(0, a), stream.subarray(a, b), stream.subarray(b)), expected);
      }
    }
  });

  it("finds them byte by byte", () => {
    assert.deepEqual(read(...Array.from(stream, (byte) => Buffer.of(byte))), expected);
  });

  it("ignores the reserved bit of a stream id", () => {
    const bytes = frame(0, 0, 5, Buffer.alloc(0));
    bytes[5]! |= 0x80;
    assert.deepEqual(read(connectionPreface, bytes), ["preface", "0 0 5 "]);
  });

  it("stops at the first byte that is not the preface", () => {
    const wrong = Buffer.from(connectionPreface);
    wrong[23] = 0x58;
    assert.deepEqual(read(wrong), ["no preface"]);
    assert.deepEqual(read(Buffer.from("PRI * HTTP/1.1")), ["no preface"]);
  });

  it("refuses a frame by its length, before its payload comes, whole or in pieces", () => {
    const head = frame(0, 0, 1, Buffer.alloc(0));
    head.writeUIntBE(16_385, 0, 3);
    const after = frame(6, 0, 0, Buffer.alloc(8));
    assert.deepEqual(read(connectionPreface, Buffer.concat([head, after])), ["preface", "oversized 0 16385"]);
    for (let cut = 1; cut < head.length; cut++) {
      assert.deepEqual(read(connectionPreface, head.subarray(0, cut), head.subarray(cut)), [
        "preface",
        "oversized 0 16385",
      ]);
    }
  });
});
