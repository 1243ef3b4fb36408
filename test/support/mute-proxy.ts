import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** A port before another one: passes everything on, until it swallows what comes back. */
export class MuteProxy {
  isMute = false;
  /** Bytes that were not passed on. */
  swallowedBytes = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, targetPort: number) {
    this.#server = server;
    server.on("connection", (near) => {
      const far = connect(targetPort, "127.0.0.1");
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
      }
      near.on("data", (bytes) => far.write(bytes));
      far.on("data", (bytes) => {
        if (this.isMute) this.swallowedBytes += bytes.length;
        else near.write(bytes);
      });
    });
  }

  static async start(targetPort: number): Promise<MuteProxy> {
    const server = createServer();
    const proxy = new MuteProxy(server, targetPort);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Breaks all connections. New ones are passed on again. */
  cut(): void {
    this.isMute = false;
    for (const socket of [...this.#sockets]) socket.destroy();
  }

  stop(): void {
    this.#server.close();
    this.cut();
  }
}
