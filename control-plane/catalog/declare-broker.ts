import type { BrokerRecord } from "../resource/broker.ts";
import { placeWanting } from "./broker-choice.ts";
import type { CatalogDraft } from "./catalog-draft.ts";
import { changeTopicsOf, nextSpreadNumber, withoutBroker } from "./topic-placement.ts";

/** What a broker says of itself when it registers or renews. */
export interface BrokerSaid {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly runId: number;
  readonly draining: boolean;
  readonly writable: boolean;
  readonly lanesOff: boolean;
}

/** Replaced runs remembered per broker group. */
const replacedRunIdsMax = 8;

/**
 * The newest run of a name wins: after a crash a broker comes back as another run, perhaps at another address. A run that was
 * replaced and still calls is refused: two brokers share one name. Returns why, or undefined.
 */
export function refuseReplacedRun(draft: CatalogDraft, said: BrokerSaid): string | undefined {
  const existing = draft.get("broker", said.name);
  if (existing?.replacedRunIds.includes(said.runId) !== true) return undefined;
  return (
    `another broker registered as "${said.name}" at ${existing.host}:${existing.port} after this one. ` +
    "Each broker needs a name of its own; stop one of them, or give it another name and data directory"
  );
}

/** A broker registers or renews. It must be alive already, so that topics without a place find it. */
export function declareBroker(draft: CatalogDraft, said: BrokerSaid): void {
  const existing = draft.get("broker", said.name);
  const isNewRun = existing !== undefined && existing.runId !== said.runId;
  const record: BrokerRecord = {
    name: said.name,
    host: said.host,
    port: said.port,
    runId: said.runId,
    replacedRunIds: isNewRun
      ? [existing.runId, ...existing.replacedRunIds].slice(0, replacedRunIdsMax)
      : (existing?.replacedRunIds ?? []),
    state: said.draining ? "draining" : "serving",
    writable: said.writable,
    ...(said.lanesOff ? { lanesOff: true } : {}),
    firstSeenMs: existing?.firstSeenMs ?? draft.nowMs,
    ...(existing?.drain === undefined ? {} : { drain: existing.drain }),
  };
  if (existing !== undefined && isSame(existing, record)) return;
  draft.put("broker", said.name, record);
  placeWanting(draft);
}

/** A broker has said, to whoever turned its kill switch, how that stands now. */
export function noteLanes(draft: CatalogDraft, name: string, areOff: boolean): void {
  const existing = draft.get("broker", name);
  if (existing === undefined || (existing.lanesOff === true) === areOff) return;
  const { lanesOff: _, ...record } = existing;
  draft.put("broker", name, areOff ? { ...record, lanesOff: true } : record);
}

/** A broker stops in an orderly way. One that was replaced meanwhile has nothing to say. */
export function stopBroker(draft: CatalogDraft, name: string, runId: number): void {
  const existing = draft.get("broker", name);
  if (existing === undefined || existing.runId !== runId || existing.state === "stopped") return;
  draft.put("broker", name, { ...existing, state: "stopped" });
}

/** What became of the wish to forget a broker. */
export type Forgotten =
  /** `topics` lost the queues they had there. */
  | { readonly outcome: "forgotten"; readonly topics: number }
  | { readonly outcome: "absent" }
  /** It holds a lease: it would register again. */
  | { readonly outcome: "alive" };

/**
 * A broker that is gone for good is forgotten with the queues it held: the messages in them are given up. Topics that were
 * nowhere else get a new place.
 */
export function forgetBroker(draft: CatalogDraft, name: string): Forgotten {
  if (draft.get("broker", name) === undefined) return { outcome: "absent" };
  if (draft.isAlive(name)) return { outcome: "alive" };
  draft.delete("broker", name);
  const number = nextSpreadNumber(draft);
  const topics = changeTopicsOf(draft, name, (topic) => withoutBroker(topic, name, number));
  placeWanting(draft);
  return { outcome: "forgotten", topics };
}

function isSame(a: BrokerRecord, b: BrokerRecord): boolean {
  return (
    a.host === b.host &&
    a.port === b.port &&
    a.runId === b.runId &&
    a.state === b.state &&
    a.writable === b.writable &&
    a.lanesOff === b.lanesOff
  );
}
