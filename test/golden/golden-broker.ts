import { statSync } from "node:fs";
import { join } from "node:path";
import { checkpointDirectory, checkpointNames } from "../../broker-core/checkpoint/checkpoint-store.ts";
import { imagesPerStretch } from "../../broker-core/checkpoint/checkpointer.ts";
import { DurableMark } from "../../broker-core/commit-log/durable-mark.ts";
import { type Broker, NodeStorage, readBrokerConfig, startBroker } from "../../broker-core/index.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import { type Log, silentLog } from "../../proto/runtime/log.ts";
import { NodeRandomness } from "../../proto/runtime/node-randomness.ts";
import { OperatorLink } from "../support/operator-link.ts";
import { ShiftedClock } from "../support/shifted-clock.ts";
import { connectUpstream, testBrokerName } from "../support/start-broker.ts";
import { UpstreamClient } from "../support/upstream-client.ts";

/** Small files, so that little bytes hold what a day makes with large ones. */
const small = { segmentSize: 64 * 1024, checkpointEvery: 48 * 1024, indexMemory: 1, retentionAge: 0 } as const;

/** A whole broker on a directory, at a time of the test's choice, with a driver and an operator connected to it. */
export class GoldenBroker {
  readonly broker: Broker;
  readonly client: UpstreamClient;
  readonly operator: OperatorLink;
  readonly clock: Clock;
  readonly #storage: NodeStorage;
  readonly #upstream: ReturnType<typeof connectUpstream>;

  private constructor(broker: Broker, storage: NodeStorage, clock: Clock) {
    this.broker = broker;
    this.clock = clock;
    this.#storage = storage;
    this.#upstream = connectUpstream(broker.port);
    this.client = new UpstreamClient(this.#upstream);
    this.operator = new OperatorLink(broker.port);
  }

  static async start(
    directory: string,
    {
      wallMs,
      bootId,
      retentionBytes = 0,
      log = silentLog,
    }: {
      readonly wallMs: number;
      readonly bootId: string;
      readonly retentionBytes?: number;
      readonly log?: Log;
    },
  ): Promise<GoldenBroker> {
    const argv = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--control-plane", "", "--name", testBrokerName];
    const clock = new ShiftedClock(wallMs, bootId);
    const storage = new NodeStorage(directory, bootId);
    const config = { ...readBrokerConfig(argv, {}), ...small, retentionBytes };
    const onDiskFailure = (error: Error) => {
      throw error;
    };
    try {
      const doors = { storage, clock, randomness: new NodeRandomness(), log, onDiskFailure };
      return new GoldenBroker(await startBroker(config, doors), storage, clock);
    } catch (error) {
      storage.unlock();
      throw error;
    }
  }

  /** Whether the durable mark tells of all that is in the log, and a checkpoint of all but less than a stretch. */
  isAtRest(directory: string): boolean {
    const position = this.broker.state.appliedPosition;
    if (DurableMark.open(this.#storage).position < position) return false;
    const newest = checkpointNames(this.#storage).at(-1);
    const taken = newest === undefined ? 0 : Number.parseInt(newest, 10);
    const size = newest === undefined ? 0 : statSync(join(directory, checkpointDirectory, newest)).size;
    return position - taken < Math.max(small.checkpointEvery, imagesPerStretch * size);
  }

  async stop(): Promise<void> {
    await this.#end(() => this.broker.stop());
  }

  /** As the end of the process. */
  async kill(): Promise<void> {
    await this.#end(async () => this.broker.stopNow());
  }

  async #end(end: () => Promise<void>): Promise<void> {
    this.operator.close();
    await this.#upstream.close(0);
    await end();
    this.#storage.unlock();
  }
}
