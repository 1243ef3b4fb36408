import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../../proto/code.ts";
import { FrameKind } from "../../../proto/frame/frame.ts";
import type { GroupRef, TopicRef, UpstreamFailure } from "../upstream.ts";
import { decodeRare, readFailure } from "./answer-reader.ts";
import type { BrokerConnection } from "./broker-connection.ts";
import { CallState, type CallTable } from "./call-table.ts";
import type { Opening } from "./opened-names.ts";
import { openingsInUseMax } from "./request-frame.ts";

export type AnyOpening = Opening<TopicRef> | Opening<GroupRef>;

/** The names a request needs opened. */
export interface NamesOf {
  readonly topic?: TopicRef;
  readonly group?: GroupRef;
}

/** What happens to calls that waited for a name, by correlation id. */
export interface NameOpenerEvents {
  /** It is open, or its connection is gone: look again where the call goes. */
  onResolved(correlation: number): void;
  onRefused(correlation: number, answer: UpstreamFailure): void;
}

/**
 * Opens topics and groups, once per connection: the calls that need a name wait for its one answer. An opening has no
 * deadline of its own: those who wait have theirs, and the connection has its pings.
 */
export class NameOpener {
  readonly #calls: CallTable;
  readonly #events: NameOpenerEvents;
  #inUse = 0;
  /** Openings that wait for their share of the window. */
  #queue: (() => void)[] = [];

  constructor(calls: CallTable, events: NameOpenerEvents) {
    this.#calls = calls;
    this.#events = events;
  }

  /** The opening a call must wait for; begins it. Undefined when all its names are open. */
  missing(connection: BrokerConnection, { topic, group }: NamesOf): AnyOpening | undefined {
    if (topic !== undefined) {
      const opening = connection.topics.find(topic) ?? this.#openTopic(connection, topic);
      if (opening.id < 0) return opening;
    }
    if (group !== undefined) {
      const opening = connection.groups.find(group) ?? this.#openGroup(connection, group);
      if (opening.id < 0) return opening;
    }
    return undefined;
  }

  /** The broker answered an opening; its slot is closed. */
  answered(connection: BrokerConnection, kind: number, opening: AnyOpening, outcome: number | UpstreamFailure): void {
    this.#inUse--;
    const waiting = opening.waiting.splice(0);
    if (typeof outcome === "number") {
      opening.id = outcome;
      for (const correlation of waiting) this.#events.onResolved(correlation);
    } else {
      (kind === FrameKind.OpenTopic ? connection.topics : connection.groups).forget(opening.ref.name);
      for (const correlation of waiting) this.#events.onRefused(correlation, outcome);
    }
    this.#queue.shift()?.();
  }

  /** The connection of an opening is gone; its slot is closed. */
  lost(opening: AnyOpening): void {
    this.#inUse--;
    for (const correlation of opening.waiting.splice(0)) this.#events.onResolved(correlation);
  }

  /** What waited for a share of the window of a connection that is gone is dropped; of another one it goes on. */
  drainQueue(): void {
    const queue = this.#queue;
    this.#queue = [];
    for (const send of queue) send();
  }

  #openTopic(connection: BrokerConnection, ref: TopicRef): Opening<TopicRef> {
    const opening = connection.topics.begin(ref);
    const { name, incarnation, messageTypes, queueCount } = ref;
    const body = popmesh.v1.OpenTopic.encode({ name, incarnation, messageTypes, queueCount }).finish();
    this.#send(connection, FrameKind.OpenTopic, opening, body);
    return opening;
  }

  #openGroup(connection: BrokerConnection, ref: GroupRef): Opening<GroupRef> {
    const opening = connection.groups.begin(ref);
    const { name, generation, attemptsMax, inflightMax, backoff, broadcast = null } = ref;
    const policy =
      backoff.kind === "list"
        ? { delayMs: [...backoff.delaysMs] }
        : { initialMs: backoff.initialMs, maxMs: backoff.maxMs, multiplier: backoff.multiplier };
    const group = { name, generation, attemptsMax, inflightMax, backoff: policy, broadcast };
    this.#send(connection, FrameKind.OpenGroup, opening, popmesh.v1.OpenGroup.encode(group).finish());
    return opening;
  }

  #send(connection: BrokerConnection, kind: number, opening: AnyOpening, body: Uint8Array): void {
    if (connection.frames.isClosed) {
      for (const correlation of opening.waiting.splice(0)) this.#events.onResolved(correlation);
      return;
    }
    if (this.#inUse >= Math.min(openingsInUseMax, Math.max(1, connection.requestWindow >> 1))) {
      this.#queue.push(() => this.#send(connection, kind, opening, body));
      return;
    }
    const slot = this.#calls.open(kind, opening, Number.POSITIVE_INFINITY, undefined);
    // No slot is left: those who wait run out of time, and the next call for the name tries again.
    if (slot < 0) {
      (kind === FrameKind.OpenTopic ? connection.topics : connection.groups).forget(opening.ref.name);
      return;
    }
    this.#inUse++;
    connection.requestsInUse++;
    this.#calls.states[slot] = CallState.Sent;
    this.#calls.connections[slot] = connection;
    connection.frames.writer.write(kind, 0, this.#calls.correlation(slot), body);
  }
}

/** The id that was given, or why none was. Throws `MeshError` on bytes that are no such answer. */
export function readOpening(
  kind: number,
  status: number,
  bytes: Buffer,
  start: number,
  end: number,
): number | UpstreamFailure {
  if (status !== Code.Ok) return readFailure(status, bytes, start, end);
  const body = bytes.subarray(start, end);
  return kind === FrameKind.OpenTopic
    ? decodeRare(popmesh.v1.OpenTopicAnswer.decode, body).topicId
    : decodeRare(popmesh.v1.OpenGroupAnswer.decode, body).groupId;
}

export function isOpening(kind: number): boolean {
  return kind === FrameKind.OpenTopic || kind === FrameKind.OpenGroup;
}

/** The broker does not know an id that it once gave: the name is opened again at the next call. */
export function forgetUnknownName(connection: BrokerConnection, status: number, { topic, group }: NamesOf): void {
  if (status === Code.TopicNotFound && topic !== undefined) connection.topics.forget(topic.name);
  if (status === Code.ConsumerGroupNotFound && group !== undefined) connection.groups.forget(group.name);
}
