/**
 * What a connection of frames needs of a socket. `net.Socket` is one; a simulator hands in its own, so that a whole mesh runs
 * in one process on time that it makes up.
 */
export interface FrameSocket {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  setNoDelay(noDelay: boolean): unknown;
  on(event: "data", listener: (chunk: Buffer) => void): unknown;
  on(event: "drain" | "end" | "close", listener: () => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  /** False asks for a pause until "drain"; `done` once the system took the bytes, or with an error. */
  write(bytes: Uint8Array, done: (error?: Error | null) => void): boolean;
  pause(): unknown;
  resume(): unknown;
  end(done: () => void): unknown;
  destroy(): unknown;
}

/** Opens a socket; what it writes before it is connected waits. */
export type OpenSocket = (address: { readonly host: string; readonly port: number }) => FrameSocket;

/** Where connections come from, if not from a TCP port of this machine. */
export interface SocketSource {
  /** Gives every new connection to `accept` until the returned function is called. */
  listen(accept: (socket: FrameSocket) => void): () => void;
}
