import { Code } from "../../proto/code.ts";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { Catalog } from "../catalog/catalog.ts";
import { noteDrained } from "../catalog/drain-broker.ts";

/** What a broker says that is drained, as `broker.drain` answers it. */
export interface DrainProgress {
  /** Messages that some group is not done with, in flight included. */
  readonly unconsumed: number;
  /** Who is behind, most first; not all of them. */
  readonly behind: readonly { readonly group: string; readonly topic: string; readonly messages: number }[];
  /** Messages that wait for their time. */
  readonly delayed: number;
  readonly openTransactions: number;
  /** Dead letters, and messages of topics that no group has ever read: nobody waits for them, and they go with the broker. */
  readonly deadLetters: number;
  readonly unread: number;
}

/** Sidecars get this long to hear that the broker takes nothing any more before it refuses: meanwhile it takes what comes. */
const tellAfterMs = 1_000;
const askEveryMs = 1_000;
/** One that is not drained is told so by the way. */
const tellServingEveryMs = 10_000;
/** A broker with a million queues is asked less often: looking takes at most this part of its time. */
const askShare = 20;

export interface DrainKeeperDeps {
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly log: Log;
  call(broker: string, method: string, parameters: object): Promise<unknown>;
  readonly isAlive: (broker: string) => boolean;
}

/**
 * Sees to it that brokers which are drained know, and notices when nothing is left on them. What was decided is in the catalog, so it goes
 * on after a restart of this process; brokers keep it in their logs.
 */
export class DrainKeeper {
  readonly #deps: DrainKeeperDeps;
  readonly #timers = new Map<string, Timer>();
  readonly #running = new Set<string>();
  readonly #progress = new Map<string, DrainProgress>();
  /** Brokers that are known not to be drained, with their runs. */
  readonly #serving = new Map<string, number>();
  /** Why a broker could not be asked last: it is logged once. */
  readonly #trouble = new Map<string, string>();
  #isClosed = false;

  constructor(deps: DrainKeeperDeps) {
    this.#deps = deps;
    deps.catalog.onChange((changes) => {
      for (const { kind, key } of changes) if (kind === "broker") this.#schedule(key, 0);
    });
  }

  /** Asks all brokers. */
  start(): void {
    for (const name of this.#deps.catalog.tables.broker.keys()) this.#schedule(name, 0);
  }

  /** The broker's lease had lapsed and it is back. */
  cameBack(name: string): void {
    this.#serving.delete(name);
    this.#schedule(name, 0);
  }

  /** What the broker said last; undefined: it is not drained, or was not asked yet. */
  progress(name: string): DrainProgress | undefined {
    return this.#progress.get(name);
  }

  close(): void {
    this.#isClosed = true;
    for (const timer of this.#timers.values()) timer.cancel();
  }

  #schedule(name: string, delayMs: number): void {
    if (this.#isClosed) return;
    this.#timers.get(name)?.cancel();
    this.#timers.set(
      name,
      this.#deps.clock.after(delayMs, () => {
        this.#timers.delete(name);
        if (!this.#running.has(name)) void this.#look(name);
      }),
    );
  }

  async #look(name: string): Promise<void> {
    const { catalog, clock, log } = this.#deps;
    const broker = catalog.tables.broker.get(name);
    if (broker === undefined || broker.drain === undefined) this.#progress.delete(name);
    if (broker === undefined) {
      this.#serving.delete(name);
      return;
    }
    const { drain } = broker;
    if (broker.state === "stopped" || !this.#deps.isAlive(name)) return;
    if (drain === undefined && this.#serving.get(name) === broker.runId) return;
    const waitMs = drain === undefined ? 0 : drain.sinceMs + tellAfterMs - clock.wallMs();
    if (waitMs > 0 && waitMs <= tellAfterMs) {
      this.#schedule(name, waitMs);
      return;
    }
    this.#running.add(name);
    const startMs = clock.monotonicMs();
    try {
      const order =
        drain === undefined
          ? { drain: false }
          : { drain: true, patienceMs: drain.patienceMs, groupSpread: drain.groupSpread };
      const said = await this.#deps.call(name, "broker.drain", order);
      this.#trouble.delete(name);
      if (drain === undefined) this.#serving.set(name, broker.runId);
      else {
        this.#serving.delete(name);
        await this.#heard(name, said as DrainProgress);
      }
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      // A broker of before there was such a thing is not drained.
      if (error.code === Code.NotImplemented && drain === undefined) this.#serving.set(name, broker.runId);
      else if (this.#trouble.get(name) !== error.message) {
        this.#trouble.set(name, error.message);
        log.warn({ broker: name, reason: error.message }, "a broker cannot be told whether it is drained");
      }
    } finally {
      this.#running.delete(name);
    }
    const now = catalog.tables.broker.get(name);
    const isSettled = now === undefined || (now.drain === undefined && this.#serving.get(name) === now.runId);
    if (isSettled) return;
    const periodMs = now.drain === undefined && drain === undefined ? tellServingEveryMs : askEveryMs;
    this.#schedule(name, Math.max(periodMs, askShare * (clock.monotonicMs() - startMs)));
  }

  async #heard(name: string, progress: DrainProgress): Promise<void> {
    this.#progress.set(name, progress);
    const { catalog, log } = this.#deps;
    if (progress.unconsumed + progress.delayed + progress.openTransactions > 0) return;
    const drain = catalog.tables.broker.get(name)?.drain;
    if (drain === undefined || drain.isDone) return;
    await catalog.change("drain-keeper", (draft) => noteDrained(draft, name));
    log.info({ broker: name, deadLetters: progress.deadLetters, unread: progress.unread }, "a broker is drained");
  }
}
