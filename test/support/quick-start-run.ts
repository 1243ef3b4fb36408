import assert from "node:assert/strict";
import { join } from "node:path";
import { RunningProcess, repositoryRoot } from "./running-process.ts";
import type { Mesh } from "./start-mesh.ts";

/** Runs the three programs of examples/quick-start against a mesh: `count` messages through each. */
export async function runQuickStart(mesh: Mesh, count: number, tls: "on" | "off", patienceMs: number): Promise<void> {
  const environment = {
    POPMESH_ENDPOINT: tls === "on" ? mesh.endpoint.replace("127.0.0.1", "localhost") : mesh.endpoint,
    POPMESH_TLS: tls,
    GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: join(mesh.dataDirectory, "sidecar/tls/certificate.pem"),
  };
  const example = (name: string) =>
    RunningProcess.node(join(repositoryRoot, "examples/quick-start", name), [String(count)], environment);
  const push = example("push-consumer.mjs");
  const simple = example("simple-consumer.mjs");
  const producer = example("producer.mjs");
  try {
    await push.printed("push consumer is ready", patienceMs);
    await simple.printed("simple consumer is ready", patienceMs);
    await producer.printed(`${count} messages sent`, patienceMs);
    await push.printed(`${count} messages handled`, patienceMs);
    await simple.printed(`${count} messages acked`, patienceMs);
    assert.deepEqual([await producer.exited(), await push.exited(), await simple.exited()], [0, 0, 0]);
  } finally {
    await Promise.all([producer, push, simple].map((program) => program.stop("SIGKILL")));
  }
}
