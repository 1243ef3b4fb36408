import { type MessageScan, PropertyCursor } from "../../proto/codec/message-scan.ts";
import { cachedText } from "../../proto/codec/text.ts";
import { baseLane, laneNameProblem } from "../../proto/lane/lane-rule.ts";
import { printableName } from "../../proto/resource-name.ts";
import { isLaneName } from "./lane.ts";
import { baggageMember, traceIdOf } from "./trace-context.ts";
import type { TraceLanes } from "./trace-lanes.ts";

/** User property by which an application says itself in which lane a message is. Lower case, as headers of meshes are. */
export const laneProperty = "x-popmesh-lane";
/** Member of W3C baggage that says the same, set once at the edge and carried along by the tracing library. */
export const laneBaggageMember = "popmesh-lane";

/** The lane of some messages, or why they have none. */
export type LaneMark = { readonly ok: true; readonly lane: string } | { readonly ok: false; readonly message: string };

const laneKey = Buffer.from(laneProperty);
const baggageKey = Buffer.from("baggage");
const traceparentKey = Buffer.from("traceparent");
const memberKey = Buffer.from(laneBaggageMember);

const cursor = new PropertyCursor();
/** Ranges of the values within the bytes of the message looked at last; -1: it has no such property. */
const found = { laneStart: -1, laneEnd: -1, baggageStart: -1, baggageEnd: -1, traceStart: -1, traceEnd: -1 };

/**
 * Which lane a message is marked with, in this order (L11): what its user property says, else its baggage, else what is known of
 * its trace, else the lane of the instance. A message without properties and trace costs two comparisons.
 */
export class LaneMarks {
  readonly #traces: TraceLanes;
  /** One for all messages that say nothing. */
  readonly #instance: LaneMark;

  constructor(instanceLane: string, traces: TraceLanes) {
    this.#traces = traces;
    this.#instance = { ok: true, lane: instanceLane };
  }

  /**
   * The mark of all messages of one request, `messages[0 … count)`, which are stored as one: what some of them say counts for those
   * that say nothing. Two that name different lanes by property are refused, and names that no lane can have.
   */
  of(messages: readonly MessageScan[], count: number): LaneMark {
    let said: string | undefined;
    let inBaggage: string | undefined;
    let ofTrace: string | undefined;
    for (let i = 0; i < count; i++) {
      const scan = messages[i]!;
      if (scan.propertyCount === 0 && scan.traceContextStart < 0) continue;
      find(scan);
      if (found.laneStart >= 0) {
        const lane = cachedText(scan.bytes, found.laneStart, found.laneEnd);
        const problem = laneNameProblem(lane);
        if (problem !== undefined) {
          return refused(`the property ${laneProperty} is "${printableName(lane)}", and the name of a lane ${problem}`);
        }
        if (said !== undefined && said !== lane) {
          return refused(
            `messages of one request are stored as one, and their properties ${laneProperty} name lane "${said}" and lane "${lane}"; send them apart`,
          );
        }
        said = lane;
      } else if (said === undefined) {
        inBaggage ??= laneInBaggage(scan);
        if (inBaggage === undefined) ofTrace ??= this.#laneOfTrace(scan);
      }
    }
    const lane = said ?? inBaggage ?? ofTrace;
    return lane === undefined ? this.#instance : { ok: true, lane };
  }

  /** A message with this mark goes to the application: what that sends in the same trace is of the same lane. */
  noteDelivered(scan: MessageScan, mark: string): void {
    // The mark of base says nothing: most messages have it, and the instance that handles them may be of another lane.
    if (mark === "" || mark === baseLane) return;
    if (scan.propertyCount === 0 && scan.traceContextStart < 0) return;
    find(scan);
    const traceId = traceIdFound(scan);
    if (traceId !== "") this.#traces.learn(traceId, mark);
  }

  #laneOfTrace(scan: MessageScan): string | undefined {
    if (this.#traces.count === 0) return undefined;
    const traceId = traceIdFound(scan);
    return traceId === "" ? undefined : this.#traces.laneOf(traceId);
  }
}

/** A lane that nobody can have is none: baggage comes from far away, and a send must not fail by it (L8). */
function laneInBaggage({ bytes }: MessageScan): string | undefined {
  if (found.baggageStart < 0) return undefined;
  // Nearly all baggage is somebody else's, and is not taken apart.
  if (!hasText(bytes, found.baggageStart, found.baggageEnd, memberKey)) return undefined;
  const text = bytes.toString("utf8", found.baggageStart, found.baggageEnd);
  const lane = baggageMember(text, laneBaggageMember);
  return isLaneName(lane) ? lane : undefined;
}

/** By the property, else by the system property of the v2 API, which some SDKs fill with the same text. */
function traceIdFound(scan: MessageScan): string {
  const ofProperty = found.traceStart < 0 ? "" : traceIdOf(scan.bytes, found.traceStart, found.traceEnd);
  if (ofProperty !== "" || scan.traceContextStart < 0) return ofProperty;
  return traceIdOf(scan.bytes, scan.traceContextStart, scan.traceContextEnd);
}

/** Fills `found`. A key may come twice; the last one counts. */
function find(scan: MessageScan): void {
  found.laneStart = found.baggageStart = found.traceStart = -1;
  if (scan.propertyCount === 0) return;
  const { bytes } = scan;
  cursor.begin(scan);
  while (cursor.next()) {
    // Lengths differ from nearly every other key's, so few bytes are compared.
    switch (cursor.keyEnd - cursor.keyStart) {
      case laneKey.length:
        if (!isAt(bytes, laneKey)) break;
        found.laneStart = cursor.valueStart;
        found.laneEnd = cursor.valueEnd;
        break;
      case baggageKey.length:
        if (!isAt(bytes, baggageKey)) break;
        found.baggageStart = cursor.valueStart;
        found.baggageEnd = cursor.valueEnd;
        break;
      case traceparentKey.length:
        if (!isAt(bytes, traceparentKey)) break;
        found.traceStart = cursor.valueStart;
        found.traceEnd = cursor.valueEnd;
        break;
    }
  }
}

/** Whether the key of the cursor, which is as long, is `key`. */
function isAt(bytes: Buffer, key: Buffer): boolean {
  const start = cursor.keyStart;
  for (let i = 0; i < key.length; i++) if (bytes[start + i] !== key[i]) return false;
  return true;
}

/** Whether `text` stands somewhere in `bytes[start, end)`. */
function hasText(bytes: Buffer, start: number, end: number, text: Buffer): boolean {
  const first = text[0]!;
  for (let at = start, last = end - text.length; at <= last; at++) {
    if (bytes[at] !== first) continue;
    let same = 1;
    while (same < text.length && bytes[at + same] === text[same]) same++;
    if (same === text.length) return true;
  }
  return false;
}

function refused(message: string): LaneMark {
  return { ok: false, message };
}
