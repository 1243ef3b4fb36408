import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import {
  Client,
  credentials,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { request } from "undici";
import { popmesh } from "#codec/popmesh-v1";
import { ControlPlaneProcess } from "./control-plane-process.ts";
import { unary } from "./start-control-plane.ts";
import { waitUntil } from "./wait-until.ts";

/** What the client said of one call. */
export interface Greeting {
  readonly greeter?: string;
  readonly code?: number;
  readonly details?: string;
}

/** A gRPC client of others, in a process of its own, that finds its way by our control plane. */
export class ForeignXdsClient {
  readonly #child: ChildProcess;
  readonly #waiting: ((greeting: Greeting) => void)[] = [];
  #errors = "";

  constructor(command: string, argv: readonly string[], xdsPort: number, nodeId: string) {
    const bootstrap = {
      xds_servers: [
        {
          server_uri: `127.0.0.1:${xdsPort}`,
          channel_creds: [{ type: "insecure" }],
          server_features: ["xds_v3"],
        },
      ],
      node: { id: nodeId, locality: {} },
    };
    const env = { ...process.env, GRPC_XDS_BOOTSTRAP_CONFIG: JSON.stringify(bootstrap) };
    this.#child = spawn(command, argv, { env, stdio: ["pipe", "pipe", "pipe"] });
    this.#child.on("error", (error) => {
      this.#errors += String(error);
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#errors += text;
    });
    if (this.#child.stdout !== null) {
      createInterface({ input: this.#child.stdout }).on("line", (line) => this.#waiting.shift()?.(JSON.parse(line)));
    }
    this.#child.on("close", (code) => {
      for (const answer of this.#waiting.splice(0)) answer({ details: `the client ended (${code}): ${this.#errors}` });
    });
  }

  /** Makes one call. */
  greet(): Promise<Greeting> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#child.stdin?.write("call\n");
    });
  }

  /** Calls until the answer is `greeter`. */
  async greetedBy(greeter: string): Promise<void> {
    let last: Greeting = {};
    try {
      await waitUntil(`${greeter} answers`, async () => (last = await this.greet()).greeter === greeter, 30_000);
    } catch (error) {
      throw new Error(`${String(error)}; the last answer was ${JSON.stringify(last)} ${this.#errors}`);
    }
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.pid === undefined) return;
    const closed = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.kill("SIGKILL");
    await closed;
  }
}

/** A gRPC server that says who it is. */
export class Greeter {
  readonly name: string;
  #server = new Server();
  #port = 0;

  constructor(name: string) {
    this.name = name;
  }

  get port(): number {
    return this.#port;
  }

  async start(): Promise<this> {
    const same = (bytes: Buffer) => bytes;
    const greet = {
      ...{ path: "/popmesh.test.Greeter/Greet", requestStream: false, responseStream: false },
      ...{ requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same },
    };
    this.#server.addService(
      { greet },
      {
        greet: (_call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) =>
          answer(null, Buffer.from(this.name)),
      },
    );
    this.#port = await new Promise<number>((resolve, reject) =>
      this.#server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      ),
    );
    return this;
  }

  stop(): void {
    this.#server.forceShutdown();
  }
}

/**
 * The life of a broker group as a foreign client sees it: found, moved to another address, still served while the control plane
 * is killed, moved again after its return, forgotten, and back. `launch` starts the client; for the return it is started anew, because
 * neither client surely finds again on an open channel what it was told is gone (C-core 1.51 waits for routes that it has).
 */
export async function runForeignXdsClient(
  nodeId: string,
  launch: (target: string, xdsPort: number) => ForeignXdsClient,
  also: (xdsPort: number) => Promise<void> = async () => {},
): Promise<void> {
  const plane = await ControlPlaneProcess.create();
  const start = () => plane.start("--broker-lease", "1h");
  await start();
  const greeters = await Promise.all(["first", "second", "third"].map((name) => new Greeter(name).start()));
  const [first, second, third] = greeters as [Greeter, Greeter, Greeter];
  const call = async (method: string, body: Uint8Array) => {
    const client = new Client(`127.0.0.1:${plane.xdsPort}`, credentials.createInsecure());
    try {
      await unary(client, `/popmesh.v1.Registry/${method}`, body, (bytes) => bytes);
    } finally {
      client.close();
    }
  };
  let runId = 0;
  const { RegisterBrokerRequest, DeregisterBrokerRequest } = popmesh.v1;
  const isAt = ({ port }: Greeter) => {
    const broker = { brokerName: "greeter", host: "127.0.0.1", port, runId: ++runId, writable: true };
    return call("RegisterBroker", RegisterBrokerRequest.encode(broker).finish());
  };
  const held = async () => {
    const { body } = await request(`${plane.server}/v1/sidecars`);
    const { items } = (await body.json()) as {
      items: {
        id: string;
        rejected: number;
        held: { type: string; name: string; status: string; version: string }[];
      }[];
    };
    const client = items.find(({ id }) => id === nodeId);
    return {
      /** Listeners and clusters in the client's hands: of the other types nothing can be taken back in so many words. */
      reachable: client?.held.filter(({ type, version }) => /^(Listener|Cluster)$/.test(type) && version !== "").length,
      rejected: client?.rejected,
      held: client?.held.map(({ type, name, status }) => `${type} ${name} ${status}`).sort(),
    };
  };
  const everything = ["Cluster bg/", "ClusterLoadAssignment bg/", "Listener ", "RouteConfiguration bg/"];
  await isAt(first);
  let client = launch("xds:///greeter", plane.xdsPort);
  const alongside = also(plane.xdsPort);
  try {
    await client.greetedBy("first");
    await waitUntil(
      "all is acknowledged",
      async () => (await held()).held?.every((one) => one.endsWith(" SYNCED")) === true,
    );
    assert.deepEqual(
      (await held()).held,
      everything.map((type) => `${type}greeter SYNCED`),
    );

    await isAt(second);
    await client.greetedBy("second");
    await alongside;

    await plane.stop("SIGKILL");
    for (let i = 0; i < 3; i++) assert.deepEqual(await client.greet(), { greeter: "second" });
    await start();
    await isAt(third);
    await client.greetedBy("third");

    await call("DeregisterBroker", DeregisterBrokerRequest.encode({ brokerName: "greeter", runId }).finish());
    const headers = { "x-popmesh-client": "test" };
    const forgotten = await request(`${plane.server}/v1/brokers/greeter`, { method: "DELETE", headers });
    assert.equal(forgotten.statusCode, 200, await forgotten.body.text());
    await waitUntil("the removal is acknowledged", async () => (await held()).reachable === 0, 30_000);
    await waitUntil("the removal is noticed", async () => (await client.greet()).code !== undefined, 30_000);

    await isAt(first);
    await client.stop();
    client = launch("xds:///greeter", plane.xdsPort);
    await client.greetedBy("first");
    assert.equal((await held()).rejected, 0);
    const { body } = await request(`${plane.server}/stats/prometheus`);
    assert.doesNotMatch(await body.text(), /popmesh_xds_nacks_total\{[^}]*\} [1-9]/);
  } finally {
    await client.stop();
    for (const greeter of greeters) greeter.stop();
    await plane.remove();
  }
}
