import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from "@grpc/grpc-js";
import { silentLog } from "../../proto/runtime/log.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { GrpcStatus } from "../../sidecar/listener/http2/grpc-method.ts";
import { GrpcServer } from "../../sidecar/listener/http2/server.ts";

/**
 * One echo server in a process of its own, told by its argument which engine it uses. Sends its port to the parent and,
 * for each message of the parent, what it has used so far.
 */
export const echoPath = "/bench.Echo/Echo";

export interface EchoUsage {
  readonly cpuMicros: number;
  readonly heapBytes: number;
}

const servers: Readonly<Record<string, () => Promise<number>>> = {
  popmesh: () =>
    new GrpcServer({
      methods: [
        {
          path: echoPath,
          kind: "unary",
          requestBytesMax: 4 * 1024 * 1024,
          onMessage(call, bytes, start, end) {
            call.sendWith(end - start, (into, at) => bytes.copy(into, at, start, end));
            call.finish(GrpcStatus.Ok);
          },
        },
      ],
      clock: new NodeClock(),
      log: silentLog,
      limits: { requestsPerSecondMax: 10_000_000 },
    }).listen({ host: "127.0.0.1", port: 0 }),

  "grpc-js": () => {
    const same = (bytes: Buffer) => bytes;
    const server = new Server();
    server.addService(
      {
        Echo: {
          path: echoPath,
          requestStream: false,
          responseStream: false,
          requestDeserialize: same,
          requestSerialize: same,
          responseDeserialize: same,
          responseSerialize: same,
        },
      },
      { Echo: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => done(null, call.request) },
    );
    return new Promise((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      );
    });
  },

  "node:http2": () => {
    const server = createServer();
    server.on("stream", (stream) => {
      const chunks: Buffer[] = [];
      stream.on("error", () => {});
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", () => {
        stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
        stream.end(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks));
      });
    });
    return new Promise((resolve) => {
      server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
    });
  },
};

if (process.send !== undefined) {
  const start = servers[process.argv[2] ?? ""];
  if (start === undefined) throw new RangeError(`"${process.argv[2]}" is none of ${Object.keys(servers).join(", ")}`);
  process.on("message", () => {
    const { user, system } = process.cpuUsage();
    process.send?.({ cpuMicros: user + system, heapBytes: process.memoryUsage().heapUsed } satisfies EchoUsage);
  });
  process.on("disconnect", () => process.exit(0));
  process.send(await start());
}
