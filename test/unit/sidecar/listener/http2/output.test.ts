import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { Output, SlabPool, slabBytes } from "../../../../../sidecar/listener/http2/output.ts";

/** Counts what it is asked for and finishes writes when the test says so. */
class SlowSocket {
  writableLength = 0;
  readonly writes: Buffer[] = [];
  ended = 0;
  readonly #finish: ((error?: Error) => void)[] = [];

  write(bytes: Buffer, done: (error?: Error) => void): boolean {
    this.writes.push(Buffer.from(bytes));
    this.writableLength += bytes.length;
    this.#finish.push((error) => {
      this.writableLength -= bytes.length;
      done(error);
    });
    return true;
  }

  end(): void {
    this.ended++;
  }

  finishNext(error?: Error): void {
    this.#finish.shift()!(error);
  }
}

describe("output of a connection", () => {
  let socket: SlowSocket;
  let output: Output;
  let told: string[];

  beforeEach(() => {
    socket = new SlowSocket();
    told = [];
    const owner = { onOutput: () => told.push("output"), onUnblocked: () => told.push("unblocked") };
    output = new Output(socket as unknown as Socket, new SlabPool(), owner);
  });

  const put = (bytes: number, fill = 1): Buffer => {
    const at = output.reserve(bytes);
    output.slab.fill(fill, at, at + bytes);
    output.advance(at + bytes);
    return output.slab;
  };

  it("leaves in one write, and is told once per flush", () => {
    for (let i = 0; i < 10; i++) put(100, i);
    assert.deepEqual(told, ["output"]);
    output.flush();
    output.flush();
    assert.equal(socket.writes.length, 1);
    assert.equal(socket.writes[0]!.length, 1000);
    put(1);
    assert.deepEqual(told, ["output", "output"]);
  });

  it("uses a slab again, but only after the socket has taken its bytes", () => {
    const first = put(100);
    output.flush();
    const second = put(100);
    assert.notEqual(second, first);
    socket.finishNext();
    output.flush();
    assert.equal(put(100), first);
  });

  it("writes a full slab at once and goes on in the next", () => {
    put(slabBytes - 10);
    put(20);
    assert.equal(socket.writes[0]!.length, slabBytes - 10);
    output.flush();
    assert.equal(socket.writes[1]!.length, 20);
  });

  it("is blocked when much waits in the socket, until half of it is gone", () => {
    for (let i = 0; i < 3; i++) {
      put(slabBytes);
      output.flush();
    }
    assert.equal(output.isBlocked, true);
    socket.finishNext();
    assert.equal(output.isBlocked, true);
    socket.finishNext();
    assert.equal(output.isBlocked, false);
    assert.equal(told.at(-1), "unblocked");
  });

  it("is blocked for good when a write failed, so that nobody pours into a dead socket", () => {
    put(10);
    output.flush();
    socket.finishNext(new Error("reset"));
    assert.equal(output.isBlocked, true);
    assert.deepEqual(told, ["output"]);
    put(10);
    output.flush();
    assert.equal(socket.writes.length, 1);
  });

  it("sends what is left at its end, and nothing after it", () => {
    put(10);
    output.end();
    output.end();
    assert.equal(socket.writes.length, 1);
    assert.equal(socket.ended, 1);
    put(10);
    output.flush();
    assert.equal(socket.writes.length, 1);
  });
});
