import type { BrokerPort, Now } from "../../broker-core/broker-port.ts";
import { BrokerState } from "../../broker-core/broker-state.ts";
import { openCommitLog } from "../../broker-core/commit-log/open-commit-log.ts";
import { type Broker, type BrokerConfig, readBrokerConfig, startBroker } from "../../broker-core/index.ts";
import { LogHandle } from "../../broker-core/log-handle.ts";
import { readBase } from "../../broker-core/retention/base-image-store.ts";
import { logBeginOf } from "../../broker-core/retention/log-begin.ts";
import { StorageError } from "../../broker-core/storage/storage.ts";
import { silentLog } from "../../proto/runtime/log.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { ProcessDisk } from "../support/process-disk.ts";
import { SimulatedDisk } from "../support/simulated-disk.ts";
import type { SimulatedNetwork } from "./simulated-network.ts";
import { Machine, SimulatedProcess } from "./simulated-process.ts";
import type { World } from "./world.ts";

export const simulatedBrokerName = "broker-a";

/** How a disk behaves while nothing is wrong with it. */
const syncMs = { least: 0.1, spread: 0.5 };
/** A read off the event loop is mostly served from memory. */
const readMs = { least: 0.02, spread: 2 };
/** Of the log in memory: nothing, less than what is in flight, all of a run. A smaller ring makes more reads cold. */
const tailRingSizes = [0, 8 * 1024, 8 * 1024 * 1024] as const;
/** From the failure of the disk to the end of the process, as `broker-core/main.ts` has it. */
const refusalMs = 200;

export interface BrokerNodeCounts {
  starts: number;
  failedStarts: number;
  kills: number;
  powerCuts: number;
  cleanStops: number;
  diskFailures: number;
  comparisons: number;
  /** How far the log's beginning has moved, bytes. */
  removedBytes: number;
  /** Reads of old messages that were brought from the disk off the event loop. */
  coldReads: number;
}

/** A machine with a disk on which a supervisor keeps the real broker running, whatever is done to it. */
export class BrokerNode {
  readonly disk = new SimulatedDisk();
  readonly machine: Machine;
  readonly counts: BrokerNodeCounts = {
    starts: 0,
    failedStarts: 0,
    kills: 0,
    powerCuts: 0,
    cleanStops: 0,
    diskFailures: 0,
    comparisons: 0,
    removedBytes: 0,
    coldReads: 0,
  };
  readonly #world: World;
  readonly #network: SimulatedNetwork;
  readonly #randomness: Randomness;
  readonly #config: BrokerConfig;
  /** A stream of its own, so that the others are as they were without it. */
  readonly #reads: Randomness;
  #process: SimulatedProcess | undefined;
  #broker: Broker | undefined;
  /** A sync takes so much longer. */
  slowSyncMs = 0;

  constructor(world: World, network: SimulatedNetwork, config: Partial<BrokerConfig> = {}) {
    this.#world = world;
    this.#network = network;
    this.#randomness = world.randomness();
    this.machine = new Machine(world);
    const argv = ["--control-plane", "", "--name", simulatedBrokerName];
    // Small files, so that a run of seconds meets what a day meets with large ones.
    const small = {
      segmentSize: 96 * 1024,
      checkpointEvery: 48 * 1024,
      indexMemory: 1,
      groupStart: "beginning",
    } as const;
    this.#config = { ...readBrokerConfig(argv, {}), ...small, ...config };
    this.disk.syncDelayMs = () => this.#syncDelayMs();
    this.#reads = new SeededRandomness((world.seed ^ 0x0c01_dead) >>> 0);
    this.disk.readDelayMs = () => {
      this.counts.coldReads++;
      return readMs.least + this.#reads.fraction() * readMs.spread;
    };
  }

  #duringSync: (() => void) | undefined;

  #syncDelayMs(): number {
    const delayMs = syncMs.least + this.#randomness.fraction() * (syncMs.spread + this.slowSyncMs);
    const action = this.#duringSync;
    this.#duringSync = undefined;
    if (action !== undefined) this.#world.after(this.#randomness.fraction() * delayMs, undefined, action);
    return delayMs;
  }

  /** Once the disk is at work on the next sync. In place of what was to be done then before. */
  duringNextSync(action: (() => void) | undefined): void {
    this.#duringSync = action;
  }

  /** The running broker; undefined while there is none. */
  get broker(): Broker | undefined {
    return this.#broker;
  }

  get process(): SimulatedProcess | undefined {
    return this.#process;
  }

  /** Starts a process, unless one lives. */
  start(): void {
    if (this.#process !== undefined) return;
    const process = new SimulatedProcess(this.#world, this.machine, this.#randomness);
    this.#process = process;
    this.disk.clock = process;
    this.counts.starts++;
    startBroker(this.#config, {
      storage: new ProcessDisk(this.disk),
      clock: process,
      randomness: new SeededRandomness(this.#randomness.uint32()),
      log: silentLog,
      sockets: this.#network.source(process),
      tailRingBytes: tailRingSizes[randomIndex(this.#reads, tailRingSizes.length)]!,
      onDiskFailure: () => {
        this.counts.diskFailures++;
        process.after(refusalMs, () => this.#world.after(0, undefined, () => this.#exited(process)));
      },
    }).then(
      (broker) => {
        if (process.isDead) return;
        this.#broker = broker;
      },
      (error: unknown) => {
        if (process.isDead) return;
        if (!(error instanceof StorageError)) this.#world.fail(error);
        this.counts.failedStarts++;
        this.#world.after(0, undefined, () => this.#exited(process));
      },
    );
  }

  /** The supervisor sees the end of the process and starts another one. */
  #exited(process: SimulatedProcess): void {
    if (this.#process !== process) return;
    this.#end(false);
    this.disk.kill();
    this.#startLater();
  }

  #startLater(): void {
    this.#world.after(20 + this.#randomness.fraction() * 500, undefined, () => this.start());
  }

  #end(isSilent: boolean): void {
    const process = this.#process;
    if (process === undefined) return;
    process.die();
    this.#network.processDied(process, isSilent);
    this.#process = undefined;
    this.#broker = undefined;
  }

  /** SIGKILL. */
  kill(): void {
    if (this.#process === undefined) return;
    this.counts.kills++;
    this.#end(false);
    this.disk.kill();
    this.#startLater();
  }

  /** The power goes; what was not synced is lost in parts. The clock of the machine may be wrong after it. */
  cutPower(): void {
    this.counts.powerCuts++;
    this.#end(true);
    this.disk.crash(this.#randomness);
    this.machine.reboot();
    this.#startLater();
  }

  /** SIGTERM, then the next start. */
  stopCleanly(): void {
    const broker = this.#broker;
    const process = this.#process;
    if (broker === undefined || process === undefined || process.isDead) return;
    this.#broker = undefined;
    process.post(() => {
      broker.stop().then(
        () => {
          if (process.isDead) return;
          this.counts.cleanStops++;
          this.#world.after(0, undefined, () => this.#exited(process));
        },
        (error: unknown) => {
          if (process.isDead) return;
          if (!(error instanceof StorageError)) this.#world.fail(error);
          this.#world.after(0, undefined, () => this.#exited(process));
        },
      );
    });
  }

  /** Where the log began when that was looked at last. */
  #seenBegin = 0;

  /** Whether the running broker has let the oldest part of its log go since this was asked last. */
  hasRemovedMore(): boolean {
    const begin = this.#broker?.state.logBegin ?? this.#seenBegin;
    const before = this.#seenBegin;
    this.#seenBegin = begin;
    return begin > before;
  }

  /**
   * B11: what a start would make of the disk as it is now equals what the running broker has, byte for byte. Only at the end
   * of a turn with nothing unwritten. False when there is nothing to compare with.
   */
  async compareRebuilt(): Promise<boolean> {
    const broker = this.#broker;
    if (broker === undefined) return false;
    const { state } = broker;
    const now = { monotonicMs: this.machine.monotonicMs, wallMs: this.machine.wallMs };
    const position = state.appliedPosition;
    if (!this.#advances(state, now) || state.appliedPosition !== position) return false;
    const live = state.dump();
    const handle = new LogHandle();
    const sink = { receiveAnswered: () => {}, receiveRefused: () => {} };
    const disk = this.disk.copy();
    const begin = logBeginOf(disk);
    this.counts.removedBytes = Math.max(this.counts.removedBytes, begin);
    // Of a log that has lost its beginning the base image tells what was there.
    const base = begin === 0 ? undefined : readBase(disk, begin);
    const rebuilt = new BrokerState(handle, sink, broker.stateOptions, base);
    const { log } = await openCommitLog({
      storage: disk,
      clock: new ManualClock(),
      randomness: new SeededRandomness(1),
      log: silentLog,
      ...(base === undefined ? { from: undefined } : { begin, from: begin }),
      segmentBytes: this.#config.segmentSize,
      visit: (record) => rebuilt.replay(record),
      onFailure: (error) => this.#world.fail(error),
    });
    handle.connect(log);
    // Else something is appended and not written yet; or it has something to write itself: a burial that the log refused.
    const isAll = rebuilt.appliedPosition === position;
    if (isAll) rebuilt.goLive(now);
    const isComparable = isAll && rebuilt.appliedPosition === position;
    if (isComparable) {
      this.counts.comparisons++;
      const dump = rebuilt.dump();
      if (!dump.equals(live)) {
        throw new Error(`B11: the state rebuilt from the log differs (${dump.length} and ${live.length} bytes)`);
      }
    }
    log.abandon();
    return isComparable;
  }

  /** False when the log takes nothing now. */
  #advances(state: BrokerPort, now: Now): boolean {
    try {
      state.advance(now);
      return true;
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      return false;
    }
  }

  /** A fault of the disk within its next calls. Returns which call fails. */
  planDiskFault(callsMax: number): string {
    const call = (["write", "sync", "open", "rename", "syncDirectory", "truncate"] as const)[
      randomIndex(this.#randomness, 6)
    ]!;
    const at = 1 + randomIndex(this.#randomness, call === "write" || call === "sync" ? callsMax : 3);
    const sticky = this.#randomness.fraction() < 0.3;
    const isShort = call === "write" && this.#randomness.fraction() < 0.4;
    const kind = (["io", "io", "full", "read-only", "descriptors"] as const)[randomIndex(this.#randomness, 5)]!;
    this.disk.fail({
      ...{ call, at, kind, sticky },
      ...(isShort ? { shortBytes: randomIndex(this.#randomness, 40) } : {}),
    });
    return call;
  }
}
