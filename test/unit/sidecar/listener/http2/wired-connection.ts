import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { Connection } from "../../../../../sidecar/listener/http2/connection.ts";
import type { EchoEngine } from "./echo-engine.ts";

/** Takes what the engine writes. */
class Sink extends Duplex {
  readonly chunks: Buffer[] = [];

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    // The engine uses its slab again when it is told that the bytes are gone.
    this.chunks.push(Buffer.from(bytes));
    done();
  }
}

/** A connection of an engine without a socket: bytes go in, bytes come out, all within one call. */
export class WiredConnection {
  readonly connection: Connection;
  readonly #sink = new Sink();

  constructor(engine: EchoEngine) {
    this.connection = new Connection(engine.server, 1, this.#sink as unknown as Socket, "test", false);
  }

  /** Hands the engine one read. Its memory is spoilt afterwards, as a socket's would be. */
  read(bytes: Buffer): void {
    const lent = Buffer.from(bytes);
    this.connection.read(lent);
    lent.fill(0xee);
  }

  /** Everything the engine wrote so far. */
  get written(): Buffer {
    return Buffer.concat(this.#sink.chunks);
  }

  close(): void {
    this.connection.destroy("connection-closed");
  }
}
