import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { type ClientHttp2Session, connect, constants } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { NodeClock } from "../../../../../proto/runtime/node-clock.ts";
import { selfSignedCertificate } from "../../../../../sidecar/listener/certificate.ts";
import type { TlsMaterial } from "../../../../../sidecar/listener/http2/server.ts";
import { waitUntil } from "../../../../support/wait-until.ts";
import { EchoEngine, EchoPath, echoBytesMax } from "./echo-engine.ts";
import { grpcMessage } from "./raw-client.ts";

const same = (bytes: Buffer) => bytes;

function unary(client: Client, path: string, message: Buffer, metadata = new Metadata()): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, same, same, message, metadata, (error, answer) =>
      error === null ? resolve(answer ?? Buffer.alloc(0)) : reject(error),
    );
  });
}

for (const isTls of [false, true]) {
  describe(`the engine serves @grpc/grpc-js over ${isTls ? "TLS" : "cleartext"}`, () => {
    let engine: EchoEngine;
    let client: Client;
    let directory: string;
    let tls: TlsMaterial;

    before(async () => {
      directory = mkdtempSync(join(tmpdir(), "popmesh-tls-"));
      tls = await selfSignedCertificate(directory, new NodeClock());
      // The port takes both in either case.
      engine = await EchoEngine.start({ tls });
      const trusted = credentials.createSsl(Buffer.from(tls.certificate));
      client = new Client(`localhost:${engine.port}`, isTls ? trusted : credentials.createInsecure(), {
        "grpc.max_receive_message_length": -1,
      });
    });

    after(() => {
      client.close();
      engine.stop();
      rmSync(directory, { recursive: true });
    });

    for (const bytes of [0, 1, 16_379, 16_380, 65_530, 65_536, 70_000, echoBytesMax]) {
      it(`a unary call of ${bytes} bytes`, async () => {
        const message = Buffer.alloc(bytes, "popmesh");
        assert.ok((await unary(client, EchoPath.Unary, message)).equals(message));
        assert.ok((await unary(client, EchoPath.Later, message)).equals(message));
      });
    }

    it("500 calls at once, more than the streams of a connection", async () => {
      const answers = await Promise.all(
        Array.from({ length: 500 }, (_, i) =>
          unary(client, i % 2 === 0 ? EchoPath.Unary : EchoPath.Later, Buffer.from(`${i}`)),
        ),
      );
      assert.deepEqual(
        answers.map(String),
        Array.from({ length: 500 }, (_, i) => `${i}`),
      );
    });

    it("server streaming", async () => {
      const call = client.makeServerStreamRequest(EchoPath.Stream, same, same, Buffer.alloc(100_000, "s"));
      const sizes: number[] = [];
      for await (const message of call as AsyncIterable<Buffer>) sizes.push(message.length);
      assert.deepEqual(sizes, new Array(5).fill(100_000));
    });

    it("bidi, answers while the client still sends", async () => {
      const call = client.makeBidiStreamRequest(EchoPath.Bidi, same, same);
      const answers: string[] = [];
      for (let i = 0; i < 3; i++) {
        call.write(Buffer.from(`${i}`));
        answers.push(String(await new Promise<Buffer>((resolve) => call.once("data", resolve))));
      }
      const ended = new Promise<number>((resolve) => call.on("status", ({ code }) => resolve(code)));
      call.end();
      assert.equal(await ended, status.OK);
      assert.deepEqual(answers, ["0", "1", "2"]);
    });

    it("a status with a text of any characters", async () => {
      await assert.rejects(unary(client, EchoPath.Fail, Buffer.from("5 größer als 100 %\n→ ✓")), {
        code: 5,
        details: "größer als 100 %\n→ ✓",
      });
    });

    it("UNIMPLEMENTED that names the method for an unknown path", async () => {
      await assert.rejects(unary(client, "/test.Other/Unknown", Buffer.alloc(1)), (error: ServiceError) => {
        return error.code === status.UNIMPLEMENTED && error.details.includes("/test.Other/Unknown");
      });
    });

    it("RESOURCE_EXHAUSTED for a message above the method's limit", async () => {
      await assert.rejects(unary(client, EchoPath.Unary, Buffer.alloc(echoBytesMax + 1)), {
        code: status.RESOURCE_EXHAUSTED,
      });
    });

    it("UNIMPLEMENTED for a compressed message", async () => {
      const gzip = new Client(
        `localhost:${engine.port}`,
        isTls ? credentials.createSsl(Buffer.from(tls.certificate)) : credentials.createInsecure(),
        {
          "grpc.default_compression_algorithm": 2,
        },
      );
      await assert.rejects(unary(gzip, EchoPath.Unary, Buffer.alloc(100_000)), { code: status.UNIMPLEMENTED });
      gzip.close();
    });

    it("INTERNAL for a method that throws, and goes on", async () => {
      await assert.rejects(unary(client, EchoPath.Throw, Buffer.alloc(1)), { code: status.INTERNAL });
      assert.equal(String(await unary(client, EchoPath.Unary, Buffer.from("on"))), "on");
    });

    it("request headers by name", async () => {
      const metadata = new Metadata();
      metadata.set("x-mq-client-id", "host@1@2@3");
      assert.equal(String(await unary(client, EchoPath.Header, Buffer.from("x-mq-client-id"), metadata)), "host@1@2@3");
      assert.equal(String(await unary(client, EchoPath.Header, Buffer.from("x-absent"), metadata)), "none");
    });

    it("a cancelled call reaches the method", async () => {
      const before = engine.cancelled.length;
      const parked = engine.parked.length;
      const call = client.makeUnaryRequest(EchoPath.Park, same, same, Buffer.alloc(1), () => {});
      await waitUntil("the parked call", () => engine.parked.length > parked);
      call.cancel();
      await waitUntil("the cancellation", () => engine.cancelled.length > before);
      assert.deepEqual(engine.cancelled.at(-1), { path: EchoPath.Park, reason: "client-reset" });
      assert.equal(engine.parked.at(-1)!.isOpen, false);
    });

    it("serves node:http2 beside it", async () => {
      const session = connect(`${isTls ? "https" : "http"}://localhost:${engine.port}`, { ca: tls.certificate });
      const first = await post(session, EchoPath.Unary, grpcMessage("from node:http2"));
      assert.deepEqual(first, { status: 200, grpcStatus: "0", body: grpcMessage("from node:http2").toString("hex") });
      const plain = await post(session, EchoPath.Unary, Buffer.from("{}"), "application/json");
      assert.equal(plain.status, 415);
      assert.match(Buffer.from(plain.body, "hex").toString(), /gRPC/);
      session.close();
    });
  });
}

interface Answer {
  readonly status: number;
  readonly grpcStatus: string | undefined;
  readonly body: string;
}

function post(session: ClientHttp2Session, path: string, body: Buffer, type = "application/grpc"): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":method": "POST", ":path": path, "content-type": type, te: "trailers" });
    const chunks: Buffer[] = [];
    let statusCode = 0;
    let grpcStatus: string | undefined;
    stream.on("response", (headers) => {
      statusCode = Number(headers[constants.HTTP2_HEADER_STATUS]);
      grpcStatus = headers["grpc-status"] as string | undefined;
    });
    stream.on("trailers", (trailers) => {
      grpcStatus = trailers["grpc-status"] as string | undefined;
    });
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", reject);
    stream.on("close", () => resolve({ status: statusCode, grpcStatus, body: Buffer.concat(chunks).toString("hex") }));
    stream.end(body);
  });
}
