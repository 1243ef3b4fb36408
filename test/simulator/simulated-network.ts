import { crc32 } from "../../broker-core/commit-log/crc32.ts";
import type { FrameSocket, SocketSource } from "../../proto/frame/frame-socket.ts";
import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import type { SimulatedProcess } from "./simulated-process.ts";
import type { World } from "./world.ts";

/** What a socket's owner keeps in its own memory, and the system on the way, before it asks for a pause. */
const userBytesMax = 16 * 1024;
const kernelBytesMax = 64 * 1024;
const connectMs = 0.2;

/**
 * TCP between simulated processes. Bytes of one connection arrive in order, those of two in any; on their way they take time,
 * are cut into other pieces, get stuck, or are lost with their connection. Nothing is ever changed or doubled: what is sent
 * again is sent again by the real driver.
 */
export class SimulatedNetwork {
  readonly #world: World;
  readonly #randomness: Randomness;
  #listener: { readonly process: SimulatedProcess; readonly accept: (socket: FrameSocket) => void } | undefined;
  readonly #links = new Set<Link>();
  /** Added to each byte's way while it is above 0. */
  extraDelayMs = 0;
  /** Nothing arrives before this time, also no refusal: a cable is out. */
  stuckUntilMs = 0;

  constructor(world: World) {
    this.#world = world;
    this.#randomness = world.randomness();
  }

  get linkCount(): number {
    return this.#links.size;
  }

  /** The door for the broker that runs as `process`. */
  source(process: SimulatedProcess): SocketSource {
    return {
      listen: (accept) => {
        const listener = { process, accept };
        this.#listener = listener;
        return () => {
          if (this.#listener === listener) this.#listener = undefined;
        };
      },
    };
  }

  /** The door for a driver that runs as `process`. */
  open(process: SimulatedProcess): FrameSocket {
    const link = new Link(this.#world, this.#randomness, this, process);
    this.#links.add(link);
    link.onGone = () => this.#links.delete(link);
    this.#world.at(this.arrivalMs(connectMs), undefined, () => {
      const listener = this.#listener;
      if (listener === undefined || listener.process.isDead) link.refuse();
      else link.accept(listener.process, listener.accept);
    });
    return link.client;
  }

  /** When something that leaves now and needs `ms` arrives. */
  arrivalMs(ms: number): number {
    return Math.max(this.stuckUntilMs, this.#world.nowMs + ms + this.extraDelayMs * this.#randomness.fraction());
  }

  /** Cuts one connection, or all. Both ends hear of it; what was on its way is lost. */
  break(which: "one" | "all"): number {
    const links = [...this.#links];
    const chosen = which === "all" ? links : links.slice(randomIndex(this.#randomness, links.length)).slice(0, 1);
    for (const link of chosen) link.break("ECONNRESET");
    return chosen.length;
  }

  /** A process died. Its kernel closes its sockets; after a power cut nobody says anything. */
  processDied(process: SimulatedProcess, isSilent: boolean): void {
    for (const link of [...this.#links]) link.processDied(process, isSilent);
  }
}

class Link {
  readonly client: Socket;
  server: Socket | undefined;
  onGone: () => void = () => {};
  readonly #world: World;
  readonly #randomness: Randomness;
  readonly #network: SimulatedNetwork;
  isEstablished = false;
  isGone = false;

  constructor(world: World, randomness: Randomness, network: SimulatedNetwork, process: SimulatedProcess) {
    this.#world = world;
    this.#randomness = randomness;
    this.#network = network;
    this.client = new Socket(this, process, world);
  }

  accept(process: SimulatedProcess, accept: (socket: FrameSocket) => void): void {
    if (this.isGone) return;
    const server = new Socket(this, process, this.#world);
    this.server = server;
    server.peer = this.client;
    this.client.peer = server;
    this.isEstablished = true;
    process.post(() => {
      if (!server.isDestroyed) accept(server);
    });
    this.client.pump();
  }

  refuse(): void {
    this.#gone();
    this.client.fail("ECONNREFUSED");
  }

  break(error: string): void {
    if (this.isGone) return;
    this.#gone();
    this.client.fail(error);
    this.server?.fail(error);
  }

  /** One end is closed for good; the other hears of it behind all bytes, unless these are thrown away. */
  closed(end: Socket): void {
    if (this.isGone) return;
    const peer = end.peer;
    if (peer === undefined || peer.isDestroyed) {
      this.#gone();
      return;
    }
    this.deliver(end, peer, () => peer.ended(), 0);
  }

  processDied(process: SimulatedProcess, isSilent: boolean): void {
    const end =
      this.client.process === process ? this.client : this.server?.process === process ? this.server : undefined;
    if (end === undefined) return;
    end.isDestroyed = true;
    if (isSilent && end.peer !== undefined) {
      // What has left arrives. The peer finds out by its pings, or when the machine is back and knows nothing of the connection.
      end.isSilent = true;
      end.dropUntaken();
      this.#world.after(1_000 + this.#randomness.fraction() * 20_000, undefined, () => this.break("ECONNRESET"));
      return;
    }
    end.dropUntaken();
    if (this.#randomness.fraction() < 0.5) this.break("ECONNRESET");
    else this.closed(end);
  }

  /** Has `arrive` happen in a turn of `to` when what leaves `from` now is there: behind everything that left before. */
  deliver(from: Socket, to: Socket, arrive: () => void, bytes: number): void {
    const wayMs = 0.02 + this.#randomness.fraction() * 0.2 + bytes / 500_000;
    from.lastArrivalMs = Math.max(from.lastArrivalMs, this.#network.arrivalMs(wayMs));
    this.#world.at(from.lastArrivalMs, to.process, () => {
      if (!this.isGone) arrive();
    });
  }

  /** Where to cut a piece that arrives; its length for not at all. */
  cut(length: number): number {
    return length > 1 && this.#randomness.fraction() < 0.02 ? 1 + randomIndex(this.#randomness, length - 1) : length;
  }

  #gone(): void {
    this.isGone = true;
    this.onGone();
  }
}

type Listeners = {
  data?: (chunk: Buffer) => void;
  drain?: () => void;
  end?: () => void;
  close?: () => void;
  error?: (error: Error) => void;
};

class Socket implements FrameSocket {
  readonly process: SimulatedProcess;
  readonly #link: Link;
  readonly #world: World;
  readonly #listeners: Listeners = {};
  peer: Socket | undefined;
  isDestroyed = false;
  /** Its machine has no power. */
  isSilent = false;
  lastArrivalMs = 0;
  /** Written, not taken by the system. */
  #queue: { readonly bytes: Buffer; readonly done: (error?: Error | null) => void }[] = [];
  #queuedBytes = 0;
  /** Taken, not yet read by the peer. */
  #kernelBytes = 0;
  #wantsDrain = false;
  #isPaused = false;
  /** Arrived, not read. */
  #received: Buffer[] = [];
  #hasEnded = false;
  #ending: (() => void) | undefined;

  constructor(link: Link, process: SimulatedProcess, world: World) {
    this.#link = link;
    this.process = process;
    this.#world = world;
  }

  setNoDelay(): void {
    // Nothing waits for more here.
  }

  on(event: keyof Listeners, listener: (argument: never) => void): void {
    this.#listeners[event] = listener as never;
  }

  write(bytes: Uint8Array, done: (error?: Error | null) => void): boolean {
    if (this.isDestroyed) return false;
    const copy = Buffer.from(bytes);
    this.#world.trace(crc32(copy, 0, copy.length));
    this.#queue.push({ bytes: copy, done });
    this.#queuedBytes += copy.length;
    this.pump();
    if (this.#queuedBytes < userBytesMax) return true;
    this.#wantsDrain = true;
    return false;
  }

  /** Moves on what the system has room for. */
  pump(): void {
    if (!this.#link.isEstablished || this.isDestroyed) return;
    let next = this.#queue[0];
    while (next !== undefined && this.#kernelBytes < kernelBytesMax) {
      this.#queue.shift();
      this.#queuedBytes -= next.bytes.length;
      this.#send(next.bytes);
      const { done } = next;
      this.process.post(() => {
        if (!this.isDestroyed) done();
      });
      next = this.#queue[0];
    }
    if (this.#queue.length > 0) return;
    if (this.#wantsDrain) {
      this.#wantsDrain = false;
      this.process.post(() => {
        if (!this.isDestroyed) this.#listeners.drain?.();
      });
    }
    this.#finishEnding();
  }

  #send(bytes: Buffer): void {
    this.#kernelBytes += bytes.length;
    const { peer } = this;
    if (peer === undefined) return;
    const at = this.#link.cut(bytes.length);
    for (const piece of at < bytes.length ? [bytes.subarray(0, at), bytes.subarray(at)] : [bytes]) {
      this.#link.deliver(this, peer, () => peer.arrived(piece), piece.length);
    }
  }

  arrived(bytes: Buffer): void {
    if (this.isDestroyed) {
      // Nobody is there any more: the answer is a reset, if there is a machine to give it.
      if (!this.isSilent) this.#link.break("ECONNRESET");
      return;
    }
    this.#received.push(bytes);
    this.#read();
  }

  #read(): void {
    while (this.#received.length > 0 && !this.#isPaused && !this.isDestroyed) {
      const bytes = this.#received.shift()!;
      this.peer?.read(bytes.length);
      this.#listeners.data?.(bytes);
    }
    if (this.#hasEnded && this.#received.length === 0 && !this.isDestroyed) this.#listeners.end?.();
  }

  /** The peer has read so many bytes. */
  read(count: number): void {
    this.#kernelBytes -= count;
    this.pump();
  }

  /** The peer sends no more. */
  ended(): void {
    if (this.isDestroyed) return;
    this.#hasEnded = true;
    this.#read();
  }

  fail(reason: string): void {
    if (this.isDestroyed) return;
    this.process.post(() => {
      if (this.isDestroyed) return;
      this.#listeners.error?.(new Error(reason));
      this.#listeners.close?.();
    });
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.process.post(() => this.#read());
  }

  end(done: () => void): void {
    this.#ending = done;
    if (this.#queue.length === 0) this.#finishEnding();
  }

  #finishEnding(): void {
    const done = this.#ending;
    if (done === undefined) return;
    this.#ending = undefined;
    this.process.post(done);
  }

  dropUntaken(): void {
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  destroy(): void {
    if (this.isDestroyed) return;
    this.isDestroyed = true;
    this.dropUntaken();
    this.#received = [];
    this.#link.closed(this);
  }
}
