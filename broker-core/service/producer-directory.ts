import { popmesh } from "#codec/popmesh-v1";
import { FrameKind } from "../../proto/frame/frame.ts";
import { baseLane } from "../../proto/lane/lane-rule.ts";
import type { Log } from "../../proto/runtime/log.ts";
import type { Counter, MetricRegistry } from "../../proto/runtime/metric.ts";
import type { GivenUpTransaction, OrphanedTransaction, OrphanSink } from "../broker-port.ts";
import type { LogWriter } from "../commit-log/log.ts";
import type { Connection } from "./connection.ts";

/** Topics of one connection; what a sidecar names beyond is not asked there. */
export const topicsPerConnectionMax = 65_536;
/** A sidecar that has not taken this many bytes is not asked more for now. */
const untakenBytesMax = 1024 * 1024;

export interface ProducerDirectoryDeps {
  readonly log: LogWriter;
  readonly diagnostics: Log;
  readonly metrics: MetricRegistry;
}

/**
 * Behind which connections there are live producers of a topic, as the sidecars say. Asks them, in turn, about open
 * transactions: those of the lane that the message is marked with, else any (L9). A base instance need not know what a canary has
 * begun, but when no canary is left it is the only one that may.
 */
export class ProducerDirectory implements OrphanSink {
  readonly #byTopic = new Map<string, { readonly connections: Connection[]; turn: number }>();
  readonly #topicsOf = new Map<Connection, Set<string>>();
  #deps: ProducerDirectoryDeps | undefined;
  #checkBacks: Counter | undefined;

  /** Given once, before the first question: the state machine is made before the log. */
  connect(deps: ProducerDirectoryDeps): void {
    this.#deps = deps;
    this.#checkBacks = deps.metrics.counter(
      "popmesh_broker_transaction_check_backs_total",
      "Questions to producers about their open transactions.",
    );
  }

  /** True when the topic had no producer before. */
  add(connection: Connection, topic: string): boolean {
    let topics = this.#topicsOf.get(connection);
    if (topics === undefined) this.#topicsOf.set(connection, (topics = new Set()));
    if (topics.has(topic) || topics.size >= topicsPerConnectionMax) return false;
    topics.add(topic);
    const known = this.#byTopic.get(topic);
    if (known === undefined) {
      this.#byTopic.set(topic, { connections: [connection], turn: 0 });
      return true;
    }
    known.connections.push(connection);
    return false;
  }

  remove(connection: Connection, topic: string): void {
    if (!this.#topicsOf.get(connection)?.delete(topic)) return;
    const known = this.#byTopic.get(topic);
    if (known === undefined) return;
    known.connections.splice(known.connections.indexOf(connection), 1);
    if (known.connections.length === 0) this.#byTopic.delete(topic);
  }

  /** The connection is gone, and whoever stood behind it. */
  forget(connection: Connection): void {
    for (const topic of [...(this.#topicsOf.get(connection) ?? [])]) this.remove(connection, topic);
    this.#topicsOf.delete(connection);
  }

  canAsk(topic: string): boolean {
    return this.#next(topic) !== undefined;
  }

  ask(orphan: OrphanedTransaction): void {
    const known = this.#byTopic.get(orphan.topic);
    const connection = this.#next(orphan.topic, orphan.laneMark) ?? this.#next(orphan.topic);
    if (known === undefined || connection === undefined) return;
    known.turn = known.connections.indexOf(connection) + 1;
    this.#checkBacks?.add();
    const { position, ...question } = orphan;
    // What was asked must stay counted when this process dies.
    this.#deps?.log.whenWritten(position, () => {
      if (connection.isClosed) return;
      connection.frames.writer.write(FrameKind.CheckBack, 0, 0, popmesh.v1.CheckBack.encode(question).finish());
    });
  }

  givenUp(transaction: GivenUpTransaction): void {
    this.#deps?.metrics
      .counter(
        "popmesh_broker_transactions_given_up_total",
        "Transactions rolled back without their producer's word.",
        {
          reason: transaction.reason,
        },
      )
      .add();
    this.#deps?.diagnostics.warn(
      { ...transaction },
      "a transaction was rolled back: no producer of its topic said what became of it",
    );
  }

  /** The next one in turn that takes more; `lane`: of its sidecars only. */
  #next(topic: string, lane?: string): Connection | undefined {
    const known = this.#byTopic.get(topic);
    if (known === undefined) return undefined;
    const { connections, turn } = known;
    for (let i = 0; i < connections.length; i++) {
      const connection = connections[(turn + i) % connections.length]!;
      if (lane !== undefined && connection.lane !== (lane === "" ? baseLane : lane)) continue;
      const { position, takenPosition } = connection.frames.writer;
      if (!connection.isClosed && position - takenPosition < untakenBytesMax) return connection;
    }
    return undefined;
  }
}
