/** How an operation ended. "info": nobody knows whether it was done (timeout, lost connection); both are allowed ever after. */
export type HistoryResult = "ok" | "fail" | "info";

/** One operation, or one message of a hand-out. Times are milliseconds of one monotonic clock. */
export interface HistoryEvent {
  readonly i: number;
  /** Invoked and completed. */
  readonly t0: number;
  readonly t1: number;
  readonly client: string;
  readonly op: "send" | "receive" | "ack" | "nack";
  readonly group: string;
  readonly topic: string;
  readonly queue: number;
  readonly offset: number;
  /** Message group; "" for none. */
  readonly key: string;
  readonly id: string;
  readonly digest: string;
  readonly attempt: number;
  readonly receipt: string;
  readonly invisMs: number;
  readonly result: HistoryResult;
}

const blank = {
  ...{ group: "", topic: "", queue: -1, offset: -1, key: "", id: "", digest: "", attempt: 0, receipt: "", invisMs: 0 },
};

/** Collects what clients did and were told, for the checks after a run. */
export class HistoryRecorder {
  readonly events: HistoryEvent[] = [];

  static now(): number {
    return performance.now();
  }

  /** Adds an event; what is left out is blank. */
  add(event: Pick<HistoryEvent, "op" | "client" | "t0" | "t1" | "result"> & Partial<HistoryEvent>): void {
    this.events.push({ ...blank, ...event, i: this.events.length });
  }

  /** How many events of a kind ended so. */
  count(op: HistoryEvent["op"], result: HistoryResult): number {
    let count = 0;
    for (const event of this.events) if (event.op === op && event.result === result) count++;
    return count;
  }
}

/** What a history must not show; each entry names the message. Empty lists: all is well. */
export interface HistoryViolations {
  /** C1: acknowledged as stored, never handed out until the end. */
  readonly lost: string[];
  /** C2: handed out though nobody sent it, or though its send definitely failed. */
  readonly phantoms: string[];
  /** C3: other bytes than were sent. */
  readonly altered: string[];
  /** C4: handed out by a receive that began after an ack had been answered OK. */
  readonly redeliveredAfterAck: string[];
  /** C5: two hand-outs whose leases certainly overlap. */
  readonly twoHolders: string[];
  /** C9: one place in a queue with two messages. */
  readonly reusedOffsets: string[];
}

/** Clocks of client and broker tick apart by less than this within a lease (reference: 5 ms). */
const leaseToleranceMs = 5;

/** The checks that hold for sends, receives and acks of one topic and group under crashes of the broker. */
export function checkHistory(events: readonly HistoryEvent[]): HistoryViolations {
  const sends = new Map(events.filter(({ op }) => op === "send").map((event) => [event.id, event]));
  const handOuts = groupById(events.filter(({ op, result }) => op === "receive" && result === "ok"));
  const acks = groupById(events.filter(({ op, result }) => op === "ack" && result === "ok"));
  const violations: HistoryViolations = {
    ...{ lost: [], phantoms: [], altered: [], redeliveredAfterAck: [], twoHolders: [], reusedOffsets: [] },
  };
  for (const [id, send] of sends) if (send.result === "ok" && !handOuts.has(id)) violations.lost.push(id);
  const idByPlace = new Map<string, string>();
  for (const [id, copies] of handOuts) {
    const send = sends.get(id);
    if (send === undefined || send.result === "fail") violations.phantoms.push(id);
    for (const copy of copies) {
      if (send !== undefined && copy.digest !== send.digest) violations.altered.push(id);
      const place = `${copy.topic}/${copy.queue}/${copy.offset}`;
      if ((idByPlace.get(place) ?? id) !== id)
        violations.reusedOffsets.push(`${place}: ${id}, ${idByPlace.get(place)}`);
      idByPlace.set(place, id);
    }
    for (const ack of acks.get(id) ?? []) {
      if (copies.some((copy) => copy.t0 > ack.t1)) violations.redeliveredAfterAck.push(id);
    }
    violations.twoHolders.push(...overlapping(copies).map((pair) => `${id}: ${pair}`));
  }
  return violations;
}

/** Pairs of hand-outs of one message that were certainly held at the same time. */
function overlapping(copies: readonly HistoryEvent[]): string[] {
  const inOrder = [...copies].sort((a, b) => a.t1 - b.t1);
  const pairs: string[] = [];
  for (let i = 1; i < inOrder.length; i++) {
    const [a, b] = [inOrder[i - 1]!, inOrder[i]!];
    // A certainly holds from its answer to the earliest possible end of its lease; B certainly within that.
    if (b.t0 >= a.t1 && b.t1 <= a.t0 + a.invisMs - leaseToleranceMs) pairs.push(`events ${a.i} and ${b.i}`);
  }
  return pairs;
}

function groupById(events: readonly HistoryEvent[]): Map<string, HistoryEvent[]> {
  const byId = new Map<string, HistoryEvent[]>();
  for (const event of events) {
    const list = byId.get(event.id);
    if (list === undefined) byId.set(event.id, [event]);
    else list.push(event);
  }
  return byId;
}
