import assert from "node:assert/strict";
import { frameHeaderBytes } from "../../../../proto/frame/frame.ts";
import { FrameParser } from "../../../../proto/frame/frame-parser.ts";
import { FrameWriter, slabBytes } from "../../../../proto/frame/frame-writer.ts";
import type { Clock } from "../../../../proto/runtime/clock.ts";

describe("A frame writer", () => {
  it("writes all frames of a turn with one call, in order", () => {
    const { writer, writes, endTurn } = setUp();
    for (let i = 1; i <= 100; i++) writer.write(18, 20_000, i, Buffer.from(`body ${i}`));
    assert.equal(writes.length, 0);
    endTurn();
    assert.equal(writes.length, 1);
    const frames = parse(writes);
    assert.deepEqual(
      frames.map((frame) => frame.correlation),
      Array.from({ length: 100 }, (_, i) => i + 1),
    );
    assert.equal(frames[99]?.body, "body 100");
    assert.equal(frames[0]?.status, 20_000);
    assert.equal(frames[0]?.kind, 18);
  });

  it("takes a body written in place, shorter than was asked for", () => {
    const { writer, writes, endTurn } = setUp();
    const at = writer.begin(19, 0, 5, 1000);
    writer.end(at + writer.bytes.write("short", at));
    endTurn();
    assert.deepEqual(parse(writes), [{ kind: 19, status: 0, correlation: 5, body: "short" }]);
  });

  it("keeps the order when a frame does not fit into the slab, or into any slab", () => {
    const { writer, writes, endTurn } = setUp();
    const bodies = ["a", "b".repeat(slabBytes - 100), "c".repeat(200), "d".repeat(3 * slabBytes), "e"];
    bodies.forEach((body, i) => {
      writer.write(18, 0, i + 1, Buffer.from(body));
    });
    endTurn();
    assert.deepEqual(
      parse(writes).map((frame) => frame.body),
      bodies,
    );
  });

  it("reuses a slab only after the output has taken it", () => {
    const { writer, writes, dones, endTurn } = setUp();
    writer.write(18, 0, 1, Buffer.from("first"));
    endTurn();
    writer.write(18, 0, 2, Buffer.from("second"));
    endTurn();
    assert.notEqual(writes[0]?.buffer, writes[1]?.buffer, "the first slab is still being written");
    assert.equal(parse([writes[0]!])[0]?.body, "first");
    dones[0]?.();
    writer.write(18, 0, 3, Buffer.from("third"));
    endTurn();
    assert.equal(writes[2]?.buffer, writes[0]?.buffer);
  });

  it("tells what was handed to the output and what the system has taken", () => {
    const taken: number[] = [];
    const { writer, dones, endTurn } = setUp((position) => taken.push(position));
    writer.write(18, 0, 1, Buffer.from("abc"));
    assert.equal(writer.position, frameHeaderBytes + 3);
    assert.equal(writer.handedPosition, 0);
    endTurn();
    assert.equal(writer.handedPosition, frameHeaderBytes + 3);
    assert.equal(writer.takenPosition, 0);
    dones[0]?.();
    assert.equal(writer.takenPosition, frameHeaderBytes + 3);
    assert.deepEqual(taken, [frameHeaderBytes + 3]);
  });

  it("drops what was not handed over when it is closed, and writes nothing more", () => {
    const { writer, writes, endTurn } = setUp();
    writer.write(18, 0, 1, Buffer.from("abc"));
    writer.close();
    endTurn();
    writer.write(18, 0, 2, Buffer.from("d".repeat(2 * slabBytes)));
    writer.write(18, 0, 3, Buffer.from("e"));
    endTurn();
    assert.equal(writes.length, 0);
    assert.equal(writer.handedPosition, 0);
  });

  it("remembers that the output asked for a pause until it is resumed", () => {
    const { writer, endTurn, refuse } = setUp();
    refuse();
    writer.write(18, 0, 1, Buffer.from("abc"));
    endTurn();
    assert.equal(writer.wantsMore, false);
    writer.resume();
    assert.equal(writer.wantsMore, true);
  });
});

interface Frame {
  readonly kind: number;
  readonly status: number;
  readonly correlation: number;
  readonly body: string;
}

function setUp(onTaken?: (position: number) => void) {
  const writes: Uint8Array[] = [];
  const dones: (() => void)[] = [];
  let turnEnd: (() => void)[] = [];
  let wantsMore = true;
  const clock: Pick<Clock, "atTurnEnd"> = { atTurnEnd: (action) => turnEnd.push(action) };
  const writer = new FrameWriter(
    {
      write: (bytes, done) => {
        writes.push(bytes);
        dones.push(() => done());
        return wantsMore;
      },
    },
    clock as Clock,
    onTaken,
  );
  return {
    writer,
    writes,
    dones,
    refuse: () => {
      wantsMore = false;
    },
    endTurn: () => {
      const actions = turnEnd;
      turnEnd = [];
      for (const action of actions) action();
    },
  };
}

function parse(writes: readonly Uint8Array[]): Frame[] {
  const frames: Frame[] = [];
  const parser = new FrameParser({
    onFrame: (kind, status, correlation, bytes, start, end) => {
      frames.push({ kind, status, correlation, body: bytes.toString("latin1", start, end) });
    },
  });
  for (const bytes of writes) parser.push(Buffer.from(bytes));
  return frames;
}
