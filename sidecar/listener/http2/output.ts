import type { Socket } from "node:net";

/** Bytes of a slab: all frames of a turn go into one, and one write takes it away. */
export const slabBytes = 64 * 1024;

/** Slabs kept for reuse; more than this many writes in flight at once allocate. */
const slabsKept = 256;

/** With more than this many bytes in the socket's queue the client does not take what we write. */
const blockedBytes = 2 * slabBytes;

/** Slabs for the output of all connections, given back when the socket has taken their bytes. */
export class SlabPool {
  readonly #free: Buffer[] = [];

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(slabBytes);
  }

  giveBack(slab: Buffer): void {
    if (this.#free.length < slabsKept) this.#free.push(slab);
  }
}

/** What an output tells its connection. */
export interface OutputOwner {
  /** The first bytes since the last flush were reserved: `flush` must be called before the turn of the event loop ends. */
  onOutput(): void;
  /** The client takes bytes again after `isBlocked`. */
  onUnblocked(): void;
}

/**
 * The bytes that leave on one connection. Frames are written straight into `slab` at the position that `reserve` answers,
 * then `advance` says how far; `flush` hands everything to the socket in one write.
 */
export class Output {
  readonly #socket: Socket;
  readonly #pool: SlabPool;
  readonly #owner: OutputOwner;
  #slab: Buffer | undefined;
  #at = 0;
  #hasTold = false;
  #writesInFlight = 0;
  #isEnded = false;
  /** Counts finished writes: the sweep of the connection sees by it that the client still takes bytes. */
  writesFinished = 0;
  /** The client takes nothing more just now: hold back what can be held back. */
  isBlocked = false;

  constructor(socket: Socket, pool: SlabPool, owner: OutputOwner) {
    this.#socket = socket;
    this.#pool = pool;
    this.#owner = owner;
  }

  /** Bytes are on their way to the client. */
  get isWriting(): boolean {
    return this.#writesInFlight > 0;
  }

  /** The buffer to write into; valid until the next `reserve` or `flush`. */
  get slab(): Buffer {
    return this.#slab!;
  }

  /** Makes room for `bytes` (at most `slabBytes`) and answers where they go. */
  reserve(bytes: number): number {
    if (this.#slab !== undefined && this.#at + bytes > slabBytes) this.flush();
    if (this.#slab === undefined) {
      this.#slab = this.#pool.take();
      this.#at = 0;
      if (!this.#hasTold) {
        this.#hasTold = true;
        this.#owner.onOutput();
      }
    }
    return this.#at;
  }

  /** Everything before `end` is to be sent. */
  advance(end: number): void {
    this.#at = end;
  }

  flush(): void {
    this.#hasTold = false;
    const slab = this.#slab;
    if (slab === undefined) return;
    this.#slab = undefined;
    if (this.#at === 0 || this.#isEnded) {
      this.#pool.giveBack(slab);
      return;
    }
    this.#writesInFlight++;
    this.#socket.write(this.#at === slabBytes ? slab : slab.subarray(0, this.#at), (error) => {
      this.#writesInFlight--;
      this.writesFinished++;
      this.#pool.giveBack(slab);
      if (error != null) {
        // The socket is about to close. Until it says so, methods must not pour into it.
        this.isBlocked = true;
        this.#isEnded = true;
      } else if (this.isBlocked && this.#socket.writableLength <= blockedBytes / 2) {
        this.isBlocked = false;
        this.#owner.onUnblocked();
      }
    });
    if (this.#socket.writableLength > blockedBytes) this.isBlocked = true;
  }

  /** Sends what is left and closes our side. */
  end(): void {
    if (this.#isEnded) return;
    this.flush();
    this.#isEnded = true;
    this.#socket.end();
  }

  /** Nothing can be sent any more. */
  abandon(): void {
    this.#isEnded = true;
    this.flush();
  }
}
