import type { Clock } from "../runtime/clock.ts";
import { frameBytesMax, frameHeaderBytes } from "./frame.ts";

/** Where a writer's bytes go: a socket, or a test's list. */
export interface FrameOutput {
  /** As `stream.Writable.write`: false asks for a pause; `done` once the bytes were taken by the system, or with an error. */
  write(bytes: Uint8Array, done: (error?: Error | null) => void): boolean;
}

/** Size of a slab: many frames of a usual size, and what a socket takes with one call. */
export const slabBytes = 64 * 1024;
/** Slabs kept for reuse by all connections of the process together; more are left to the collector. */
const slabsKept = 64;

const freeSlabs: Buffer[] = [];

/**
 * Collects the frames of one turn of the event loop in a slab and gives it to the output with one call at the end of the
 * turn (docs/frame-protocol.md, "Flushing"); a slab that fills up earlier leaves earlier. Slabs come back when the output
 * has taken them, so a busy connection allocates nothing.
 *
 * Positions count bytes since the connection began, and tell what may have reached the peer: a frame that begins at or
 * above `handedPosition` provably did not; everything below `takenPosition` is in the system's hands.
 */
export class FrameWriter {
  readonly #output: FrameOutput;
  readonly #clock: Clock;
  readonly #onTaken: ((takenPosition: number) => void) | undefined;
  readonly #flushAtTurnEnd: () => void;
  #slab: Buffer | undefined;
  #used = 0;
  #frameStart = 0;
  #flushScheduled = false;
  #closed = false;
  #wantsMore = true;
  #handed = 0;
  #taken = 0;

  /** `onTaken` is called after each advance of `takenPosition`. */
  constructor(output: FrameOutput, clock: Clock, onTaken?: (takenPosition: number) => void) {
    this.#output = output;
    this.#clock = clock;
    this.#onTaken = onTaken;
    this.#flushAtTurnEnd = () => {
      this.#flushScheduled = false;
      this.flush();
    };
  }

  /** Position behind the last frame that was ended. */
  get position(): number {
    return this.#handed + this.#used;
  }

  /** Everything below was given to the output, everything above was not. */
  get handedPosition(): number {
    return this.#handed;
  }

  /** Everything below was taken by the system: it is lost only with the connection or the machine. */
  get takenPosition(): number {
    return this.#taken;
  }

  /** False from the moment the output asks for a pause until `resume`: whoever reads requests stops reading. */
  get wantsMore(): boolean {
    return this.#wantsMore;
  }

  /** The output can take more again ("drain"). */
  resume(): void {
    this.#wantsMore = true;
  }

  /** The buffer that holds the frame between `begin` and `end`. */
  get bytes(): Buffer {
    return this.#slab!;
  }

  /**
   * Begins a frame and returns the offset in `bytes` at which its body is to be written, at most `bodyBytesMax` bytes, in
   * this turn and before any other call.
   */
  begin(kind: number, status: number, correlation: number, bodyBytesMax: number): number {
    const needed = frameHeaderBytes + bodyBytesMax;
    if (this.#slab === undefined || this.#slab.length - this.#used < needed) this.#makeRoom(needed);
    const slab = this.#slab!;
    const at = this.#used;
    this.#frameStart = at;
    slab[at + 4] = kind;
    slab[at + 5] = 0;
    slab[at + 6] = status >>> 8;
    slab[at + 7] = status & 0xff;
    slab.writeUInt32BE(correlation, at + 8);
    return at + frameHeaderBytes;
  }

  /** Ends the frame; its body lies in `bytes` up to `bodyEnd`. */
  end(bodyEnd: number): void {
    const length = bodyEnd - this.#frameStart - 4;
    if (length + 4 > frameBytesMax) throw new RangeError(`a frame of ${length} bytes exceeds the limit`);
    this.#slab!.writeUInt32BE(length, this.#frameStart);
    this.#used = bodyEnd;
    if (!this.#flushScheduled) {
      this.#flushScheduled = true;
      this.#clock.atTurnEnd(this.#flushAtTurnEnd);
    }
  }

  /** A frame whose body exists already. */
  write(kind: number, status: number, correlation: number, body: Uint8Array): void {
    const at = this.begin(kind, status, correlation, body.length);
    this.#slab!.set(body, at);
    this.end(at + body.length);
  }

  /** Gives what was collected to the output now. */
  flush(): void {
    const slab = this.#slab;
    if (slab === undefined || this.#used === 0 || this.#closed) return;
    const bytes = this.#used;
    this.#slab = undefined;
    this.#used = 0;
    this.#handed += bytes;
    const position = this.#handed;
    const wantsMore = this.#output.write(slab.subarray(0, bytes), (error) => {
      // After a failed write the system may still read the slab: it is not used again.
      if (error !== undefined && error !== null) return;
      recycleSlab(slab);
      this.#taken = position;
      this.#onTaken?.(position);
    });
    if (!wantsMore) this.#wantsMore = false;
  }

  /** Drops what was not given to the output; nothing is written any more. */
  close(): void {
    this.#closed = true;
    if (this.#slab !== undefined) recycleSlab(this.#slab);
    this.#slab = undefined;
    this.#used = 0;
  }

  #makeRoom(needed: number): void {
    if (this.#used > 0) {
      if (this.#closed) this.#used = 0;
      else this.flush();
    } else if (this.#slab !== undefined) {
      recycleSlab(this.#slab);
    }
    this.#slab =
      needed > slabBytes ? Buffer.allocUnsafeSlow(needed) : (freeSlabs.pop() ?? Buffer.allocUnsafeSlow(slabBytes));
  }
}

function recycleSlab(slab: Buffer): void {
  if (slab.length === slabBytes && freeSlabs.length < slabsKept) freeSlabs.push(slab);
}
