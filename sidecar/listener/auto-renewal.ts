import { Code } from "../../proto/code.ts";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import type { MetricRegistry } from "../../proto/runtime/metric.ts";
import type { Router } from "../filter/router.ts";
import type { ChangeKind } from "../upstream/upstream.ts";
import type { ClientSession, ClientSessions, HeldReceipt } from "./client-session.ts";

/**
 * What a push consumer's message is granted at first and with each renewal. Short, because it is also how long a message stays
 * hidden when this sidecar dies; renewing is cheap.
 */
export const autoRenewInvisibleMs = 60_000;
const tickMs = 5_000;
/** Renew when less than this is left: room for several tries while a broker restarts. */
const renewBeforeMs = 30_000;
/** A consumer that works longer on one message is taken to have lost it. */
const heldMsMax = 3 * 3_600_000;
/** Messages of a consumer that is gone come back after this. */
const releaseInvisibleMs = 1_000;
const batchMax = 256;
const renewPatienceMs = 4_000;

/**
 * Keeps the messages of push consumers invisible while they are worked on: those consumers leave the invisible time to the
 * server. One timer for all; one request per broker, group and tick. Stops for a client when it acks, when it says goodbye, and
 * when it is gone.
 */
export class AutoRenewal {
  readonly #sessions: ClientSessions;
  readonly #router: Router;
  readonly #clock: Clock;
  readonly #log: Log;
  #timer: Timer | undefined;
  #heldCount = 0;

  constructor(sessions: ClientSessions, router: Router, clock: Clock, log: Log, metrics: MetricRegistry) {
    this.#sessions = sessions;
    this.#router = router;
    this.#clock = clock;
    this.#log = log;
    metrics.gaugeOf("popmesh_sidecar_receipts_held", "Receipts kept alive for push consumers.", () => this.#heldCount);
  }

  start(): void {
    this.#timer = this.#clock.every(tickMs, () => this.renewDue());
  }

  stop(): void {
    this.#timer?.cancel();
  }

  hold(session: ClientSession, receipt: Omit<HeldReceipt, "expiresMs" | "heldSinceMs">): void {
    const nowMs = this.#clock.monotonicMs();
    if (!session.held.has(receipt.receipt)) this.#heldCount++;
    session.held.set(receipt.receipt, { ...receipt, heldSinceMs: nowMs, expiresMs: nowMs + autoRenewInvisibleMs });
  }

  /** The client settled this one. Undefined: it was not held here. */
  release(session: ClientSession, receipt: string): HeldReceipt | undefined {
    const held = session.held.get(receipt);
    if (held !== undefined) {
      session.held.delete(receipt);
      this.#heldCount--;
    }
    return held;
  }

  /** The client is gone: what it holds becomes visible in a second. */
  releaseAll(session: ClientSession): void {
    const held = [...session.held.values()];
    session.held.clear();
    this.#heldCount -= held.length;
    this.#change(held, "renew", releaseInvisibleMs, () => {});
  }

  /** Extends what would soon expire. */
  renewDue(): void {
    if (this.#heldCount === 0) return;
    const nowMs = this.#clock.monotonicMs();
    const due: HeldReceipt[] = [];
    const owners = new Map<HeldReceipt, ClientSession>();
    for (const session of this.#sessions) {
      for (const held of session.held.values()) {
        if (held.expiresMs - nowMs >= renewBeforeMs) continue;
        if (held.expiresMs <= nowMs || nowMs - held.heldSinceMs > heldMsMax) {
          this.release(session, held.receipt);
          continue;
        }
        due.push(held);
        owners.set(held, session);
      }
    }
    this.#change(due, "extend", autoRenewInvisibleMs, (held, code) => {
      if (code === Code.Ok) held.expiresMs = this.#clock.monotonicMs() + autoRenewInvisibleMs;
      else {
        const owner = owners.get(held);
        if (owner !== undefined) this.release(owner, held.receipt);
      }
    });
  }

  /** `onResult` is called for what a broker answered; what could not be asked is tried again with the next tick. */
  #change(
    receipts: readonly HeldReceipt[],
    kind: ChangeKind,
    invisibleMs: number,
    onResult: (held: HeldReceipt, code: Code) => void,
  ): void {
    for (const batch of batchesOf(receipts)) {
      const [first] = batch;
      if (first === undefined) continue;
      const changes = batch.map(({ receipt }) => ({ receipt, kind, invisibleMs }));
      this.#router.changeUnasked(first.brokerName, { group: first.group, changes }, renewPatienceMs, (answer) => {
        if (!answer.ok) {
          this.#log.debug({ broker: first.brokerName, kind, reason: answer.message }, "receipts could not be changed");
          return;
        }
        batch.forEach((held, i) => {
          const result = answer.results[i];
          if (result !== undefined) onResult(held, result.code);
        });
      });
    }
  }
}

/** One batch per broker and group, none too large. */
function batchesOf(receipts: readonly HeldReceipt[]): HeldReceipt[][] {
  const open = new Map<string, HeldReceipt[]>();
  const all: HeldReceipt[][] = [];
  for (const held of receipts) {
    const key = `${held.brokerName}\n${held.group.name}`;
    let batch = open.get(key);
    if (batch === undefined || batch.length === batchMax) {
      open.set(key, (batch = []));
      all.push(batch);
    }
    batch.push(held);
  }
  return all;
}
