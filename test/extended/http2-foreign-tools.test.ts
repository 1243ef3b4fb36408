import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { selfSignedCertificate } from "../../sidecar/listener/certificate.ts";
import { waitUntil } from "../support/wait-until.ts";
import { EchoEngine, EchoPath } from "../unit/sidecar/listener/http2/echo-engine.ts";
import { grpcMessage } from "../unit/sidecar/listener/http2/raw-client.ts";

/** Runs a tool of Debian's nghttp2-client. A missing tool fails the test and says how to get it. */
function run(tool: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(tool, args, { maxBuffer: 1 << 26, timeout: 120_000 }, (error, stdout, stderr) => {
      if (error !== null && "code" in error && error.code === "ENOENT") {
        reject(new Error(`${tool} is missing; run: apt-get install -y nghttp2-client`, { cause: error }));
      } else if (error !== null) {
        reject(new Error(`${tool} failed: ${stderr}${stdout}`, { cause: error }));
      } else {
        resolve(stdout + stderr);
      }
    });
  });
}

const headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"];

describe("the engine serves the tools of nghttp2", () => {
  let directory: string;
  let engine: EchoEngine;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "popmesh-nghttp2-"));
    const tls = await selfSignedCertificate(directory, new NodeClock());
    engine = await EchoEngine.start({ tls, limits: { requestsPerSecondMax: 10_000_000 } });
    for (const bytes of [0, 1024, 100_000]) {
      writeFileSync(join(directory, `${bytes}`), grpcMessage(Buffer.alloc(bytes, "n")));
    }
  });

  after(() => {
    engine.stop();
    rmSync(directory, { recursive: true });
  });

  for (const scheme of ["http", "https"]) {
    const url = (path: string) => `${scheme}://127.0.0.1:${engine.port}${path}`;
    const shapes = [
      { connections: 1, streams: 100, bytes: 1024, calls: 50_000 },
      { connections: 8, streams: 32, bytes: 1024, calls: 50_000 },
      { connections: 50, streams: 1, bytes: 0, calls: 20_000 },
      { connections: 4, streams: 10, bytes: 100_000, calls: 2000 },
    ];
    for (const { connections, streams, bytes, calls } of shapes) {
      it(`h2load over ${scheme}: ${calls} calls of ${bytes} bytes, (${connections},${streams})`, async () => {
        const before = engine.messages(EchoPath.Unary);
        const shape = ["-n", `${calls}`, "-c", `${connections}`, "-m", `${streams}`, "-d", join(directory, `${bytes}`)];
        const output = await run("h2load", [...shape, ...headers, url(EchoPath.Unary)]);
        const counts = /requests: .*/.exec(output)?.[0];
        assert.match(output, new RegExp(`${calls} succeeded, 0 failed, 0 errored, 0 timeout`), counts);
        assert.match(output, new RegExp(`status codes: ${calls} 2xx`));
        assert.equal(engine.messages(EchoPath.Unary) - before, calls);
      });
    }

    it(`nghttp over ${scheme}: padding, priorities, trailers, its own window`, async () => {
      const output = await run("nghttp", [
        "-v",
        "--padding=200",
        "-w",
        "16",
        "-W",
        "18",
        "--trailer",
        "x-end: 1",
        "-d",
        join(directory, "100000"),
        ...headers,
        url(EchoPath.Unary),
      ]);
      assert.match(output, /grpc-status: 0/);
      assert.match(output, /:status: 200/);
      assert.doesNotMatch(output, /RST_STREAM|error_code=(?!NO_ERROR)/);
    });

    it(`h2load over ${scheme} that is cut off in the middle leaves nothing behind`, async () => {
      const shape = ["-D", "1", "-c", "10", "-m", "50", "-d", join(directory, "1024")];
      await run("h2load", [...shape, ...headers, url(EchoPath.Later)]);
      await waitUntil("no connection is left", () => engine.server.connectionCount === 0);
      assert.equal(engine.server.callCount, 0);
      assert.equal(engine.server.inflight.used, 0);
    });
  }
});
