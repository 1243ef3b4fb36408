import { type Broker, type BrokerConfig, readBrokerConfig, startBroker } from "../../broker-core/index.ts";
import type { StorageError } from "../../broker-core/storage/storage.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import { type Log, silentLog } from "../../proto/runtime/log.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import type { Randomness } from "../../proto/runtime/randomness.ts";
import type { BrokerCoreUpstream } from "../../sidecar/upstream/broker-core/broker-core-upstream.ts";
import { ProcessDisk } from "./process-disk.ts";
import type { SimulatedDisk } from "./simulated-disk.ts";
import { connectUpstream, testBrokerName } from "./start-broker.ts";
import { UpstreamClient } from "./upstream-client.ts";

/** A whole broker over a disk that a test can break, reached through a real driver. */
export class SimulatedBroker {
  readonly broker: Broker;
  readonly client: UpstreamClient;
  readonly diskFailures: StorageError[];
  readonly #upstream: BrokerCoreUpstream;

  private constructor(broker: Broker, diskFailures: StorageError[]) {
    this.broker = broker;
    this.diskFailures = diskFailures;
    this.#upstream = connectUpstream(broker.port);
    this.client = new UpstreamClient(this.#upstream);
  }

  static async start(
    disk: SimulatedDisk,
    randomness: Randomness,
    options: Partial<BrokerConfig> & { readonly log?: Log; readonly clock?: Clock } = {},
  ): Promise<SimulatedBroker> {
    const argv = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--control-plane", "", "--name", testBrokerName];
    const { log = silentLog, clock = new NodeClock(), ...settings } = options;
    // Small files, so that a run of seconds meets what a day meets with large ones.
    const small = { segmentSize: 256 * 1024, checkpointEvery: 64 * 1024, groupStart: "beginning" } as const;
    const config: BrokerConfig = { ...readBrokerConfig(argv, {}), ...small, ...settings };
    const diskFailures: StorageError[] = [];
    const broker = await startBroker(config, {
      ...{ storage: new ProcessDisk(disk), clock, randomness, log },
      onDiskFailure: (error) => diskFailures.push(error),
    });
    return new SimulatedBroker(broker, diskFailures);
  }

  /** As the end of the process: nothing is said to anybody. What becomes of the disk is the test's business. */
  async die(): Promise<void> {
    this.broker.stopNow();
    await this.#upstream.close(0);
  }

  async stop(): Promise<void> {
    await this.broker.stop();
    await this.#upstream.close(0);
  }
}
