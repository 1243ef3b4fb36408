import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { request } from "undici";
import { popmesh } from "#codec/popmesh-v1";
import { type ControlPlane, readControlPlaneConfig, startControlPlane } from "../../control-plane/index.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import { silentLog } from "../../proto/runtime/log.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";

interface TestControlPlaneOptions {
  readonly clock?: Clock;
  readonly dataDirectory?: string;
  readonly argv?: readonly string[];
}

/** A control plane in this process, on free ports and a directory of its own, reached as the real parts reach it. */
export class TestControlPlane {
  readonly dataDirectory: string;
  readonly #options: TestControlPlaneOptions;
  #running: ControlPlane;
  #registry: Client | undefined;

  private constructor(options: TestControlPlaneOptions, dataDirectory: string, running: ControlPlane) {
    this.#options = options;
    this.dataDirectory = dataDirectory;
    this.#running = running;
  }

  static async start(options: TestControlPlaneOptions = {}): Promise<TestControlPlane> {
    const dataDirectory = options.dataDirectory ?? mkdtempSync(join(tmpdir(), "popmesh-control-plane-"));
    return new TestControlPlane(options, dataDirectory, await startIn(dataDirectory, options, ["--bootstrap", "true"]));
  }

  get xdsPort(): number {
    return this.#running.xdsPort;
  }

  get apiPort(): number {
    return this.#running.apiPort;
  }

  /** Stops it and starts another on the same directory; the ports change. */
  async restart(argv: readonly string[] = []): Promise<void> {
    await this.#halt();
    this.#running = await startIn(this.dataDirectory, this.#options, argv);
  }

  async stop(): Promise<void> {
    await this.#halt();
    rmSync(this.dataDirectory, { recursive: true, force: true });
  }

  /** Declares manifests through the API; fails when they are refused. */
  async apply(...manifests: object[]): Promise<void> {
    const text = manifests.map((manifest) => JSON.stringify(manifest)).join("\n---\n");
    const { status, body } = await this.http("POST", "/v1/apply", text);
    assert.equal(status, 200, body);
  }

  async deleteTopic(name: string): Promise<void> {
    const { status, body } = await this.http("DELETE", `/v1/namespaces/default/topics/${name}`);
    assert.equal(status, 200, body);
  }

  async http(
    method: "GET" | "POST" | "DELETE" | "PUT",
    path: string,
    body?: string,
    headers: Readonly<Record<string, string>> = { "x-popmesh-client": "test", "content-type": "application/yaml" },
  ): Promise<{ status: number; body: string }> {
    const url = `http://127.0.0.1:${this.apiPort}${path}`;
    const answer = await request(url, { method, headers, ...(body === undefined ? {} : { body }) });
    return { status: answer.statusCode, body: await answer.body.text() };
  }

  async json<T = Record<string, unknown>>(path: string): Promise<T> {
    const { status, body } = await this.http("GET", path);
    assert.equal(status, 200, body);
    return JSON.parse(body) as T;
  }

  registerBroker(said: popmesh.v1.IRegisterBrokerRequest): Promise<popmesh.v1.RegisterBrokerAnswer> {
    const { RegisterBrokerRequest, RegisterBrokerAnswer } = popmesh.v1;
    const whole = { host: "127.0.0.1", port: 17_000, runId: 1, writable: true, ...said };
    return this.#call("RegisterBroker", RegisterBrokerRequest.encode(whole).finish(), (bytes) =>
      RegisterBrokerAnswer.decode(bytes),
    );
  }

  deregisterBroker(said: popmesh.v1.IDeregisterBrokerRequest): Promise<popmesh.v1.DeregisterBrokerAnswer> {
    const { DeregisterBrokerRequest, DeregisterBrokerAnswer } = popmesh.v1;
    return this.#call("DeregisterBroker", DeregisterBrokerRequest.encode(said).finish(), (bytes) =>
      DeregisterBrokerAnswer.decode(bytes),
    );
  }

  ensure(what: "Topic" | "Group", name: string): Promise<popmesh.v1.EnsureAnswer> {
    const body = popmesh.v1.EnsureTopicRequest.encode({ name, askedBy: "test" }).finish();
    return this.#call(`Ensure${what}`, body, (bytes) => popmesh.v1.EnsureAnswer.decode(bytes));
  }

  /** What a sidecar asks once a second: its shares of rate limits. */
  share(demand: popmesh.v1.ILimitDemand[], sidecarId = "test"): Promise<popmesh.v1.ShareAnswer> {
    this.#registry ??= new Client(`127.0.0.1:${this.xdsPort}`, credentials.createInsecure());
    const body = popmesh.v1.ShareRequest.encode({ sidecarId, demand }).finish();
    return unary(this.#registry, "/popmesh.v1.Limits/Share", body, (bytes) => popmesh.v1.ShareAnswer.decode(bytes));
  }

  #call<A>(method: string, body: Uint8Array, decode: (bytes: Buffer) => A): Promise<A> {
    this.#registry ??= new Client(`127.0.0.1:${this.xdsPort}`, credentials.createInsecure());
    return unary(this.#registry, `/popmesh.v1.Registry/${method}`, body, decode);
  }

  async #halt(): Promise<void> {
    this.#registry?.close();
    this.#registry = undefined;
    await this.#running.stop();
  }
}

/** One unary call with bytes in and a decoded answer out. */
export function unary<A>(client: Client, path: string, body: Uint8Array, decode: (bytes: Buffer) => A): Promise<A> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      path,
      (bytes: Uint8Array) => Buffer.from(bytes),
      decode,
      body,
      (error: ServiceError | null, answer?: A) => {
        if (error !== null || answer === undefined) reject(error ?? new Error("no answer"));
        else resolve(answer);
      },
    );
  });
}

/** A topic as `TestControlPlane.apply` takes it. */
export function topicManifest(name: string, spec: object = {}): object {
  return { apiVersion: "popmesh.io/v1", kind: "Topic", metadata: { name }, spec };
}

export function groupManifest(name: string, spec: object = {}): object {
  return { apiVersion: "popmesh.io/v1", kind: "ConsumerGroup", metadata: { name }, spec };
}

function startIn(
  dataDirectory: string,
  options: TestControlPlaneOptions,
  argv: readonly string[],
): Promise<ControlPlane> {
  const flags = ["--xds", "127.0.0.1:0", "--api", "127.0.0.1:0", "--data-dir", dataDirectory];
  const config = readControlPlaneConfig([...flags, ...(options.argv ?? []), ...argv], {});
  return startControlPlane(config, {
    clock: options.clock ?? new NodeClock(),
    randomness: new SeededRandomness(1),
    log: silentLog,
    onStoreFailure: (error) => {
      throw error;
    },
  });
}
