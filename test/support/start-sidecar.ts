import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLog } from "../../proto/runtime/log.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { NodeRandomness } from "../../proto/runtime/node-randomness.ts";
import { readSidecarConfig, type Sidecar, startSidecar } from "../../sidecar/index.ts";
import { FakeControlPlane } from "./fake-control-plane.ts";
import { FakeUpstream } from "./fake-upstream.ts";
import { RawV2Client } from "./raw-v2-client.ts";

/** A sidecar in this process, between clients of the test, a control plane and brokers that only pretend. */
export class SidecarUnderTest {
  readonly plane: FakeControlPlane;
  readonly upstreams: Map<string, FakeUpstream>;
  readonly dataDirectory: string;
  readonly sidecar: Sidecar;
  readonly #clients: RawV2Client[] = [];
  readonly #ownsPlane: boolean;
  #clientCount = 0;

  private constructor(
    plane: FakeControlPlane,
    ownsPlane: boolean,
    upstreams: Map<string, FakeUpstream>,
    dataDirectory: string,
    sidecar: Sidecar,
  ) {
    this.plane = plane;
    this.#ownsPlane = ownsPlane;
    this.upstreams = upstreams;
    this.dataDirectory = dataDirectory;
    this.sidecar = sidecar;
  }

  /** With two brokers "broker-a" and "broker-b", of which topics use the first unless told otherwise. */
  static async start(
    options: {
      readonly argv?: readonly string[];
      readonly plane?: FakeControlPlane;
      readonly upstreams?: Map<string, FakeUpstream>;
      readonly dataDirectory?: string;
      /** Port of a control plane that is not there. */
      readonly controlPlanePort?: number;
    } = {},
  ): Promise<SidecarUnderTest> {
    const plane = options.plane ?? new FakeControlPlane();
    if (options.plane === undefined && options.controlPlanePort === undefined) {
      plane.setNamespace("default", true, true);
      plane.setBroker("broker-a");
      plane.setBroker("broker-b");
      await plane.start();
    }
    const dataDirectory = options.dataDirectory ?? mkdtempSync(join(tmpdir(), "popmesh-sidecar-"));
    const upstreams = options.upstreams ?? new Map<string, FakeUpstream>();
    const config = readSidecarConfig(
      [
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--control-plane",
        `127.0.0.1:${options.controlPlanePort ?? plane.port}`,
        "--data-dir",
        dataDirectory,
        "--access-log",
        "off",
        // It lives in the process of the tests, whose memory is not its own.
        "--memory-max",
        "16GiB",
        ...(options.argv ?? []),
      ],
      {},
    );
    const sidecar = await startSidecar(config, {
      clock: new NodeClock(),
      randomness: new NodeRandomness(),
      log: silentLog,
      createUpstream: (brokerName) => {
        let upstream = upstreams.get(brokerName);
        if (upstream === undefined) upstreams.set(brokerName, (upstream = new FakeUpstream(brokerName)));
        upstream.isReady = true;
        return upstream;
      },
      tls: undefined,
      version: "test",
    });
    return new SidecarUnderTest(plane, options.plane === undefined, upstreams, dataDirectory, sidecar);
  }

  get address(): string {
    return `127.0.0.1:${this.sidecar.port}`;
  }

  get adminUrl(): string {
    return `http://127.0.0.1:${this.sidecar.adminPort}`;
  }

  /** The broker, which exists as soon as it was used or asked for here. */
  upstream(brokerName = "broker-a"): FakeUpstream {
    let upstream = this.upstreams.get(brokerName);
    if (upstream === undefined) this.upstreams.set(brokerName, (upstream = new FakeUpstream(brokerName)));
    return upstream;
  }

  /** A client of its own; "" for one that does not say who it is. */
  client(clientId = `client-${++this.#clientCount}`, headers: Readonly<Record<string, string>> = {}): RawV2Client {
    const client = new RawV2Client(this.address, clientId, headers);
    this.#clients.push(client);
    return client;
  }

  async stop(options: { readonly keepDirectory?: boolean; readonly abruptly?: boolean } = {}): Promise<void> {
    for (const client of this.#clients) client.close();
    if (options.abruptly === true) this.sidecar.stopNow();
    await this.sidecar.stop();
    if (this.#ownsPlane) this.plane.stop();
    if (options.keepDirectory !== true) rmSync(this.dataDirectory, { recursive: true, force: true });
  }
}
