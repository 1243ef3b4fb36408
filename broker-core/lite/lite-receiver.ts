import { Code } from "../../proto/code.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import { answered, type LiteSync, type LiteSynced, type Now, noPosition, type ReceiveSink } from "../broker-port.ts";
import type { LogReader } from "../commit-log/log.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { offsetAtTime } from "../operation/group-reset.ts";
import type { Receiver } from "../pop/receiver.ts";
import { TimerWheel } from "../pop/timer-wheel.ts";
import type { PopRequest } from "../pop/waiter-table.ts";
import type { Opener } from "../topic/opener.ts";
import type { Topic } from "../topic/topic.ts";
import { LiteClient, type LitePoll } from "./lite-client.ts";
import { isLiteParent, isLiteTopicName, liteChildTypes, liteTopicName } from "./lite-name.ts";

/** Lite topics of one client, as the SDKs are told; some more are let through, because adds and removes cross each other. */
const quota = 2_000;
const quotaTolerance = 300;
/** Lite topics of one broker. */
const liteTopicsMax = 1_000_000;
/** A client that has not said its set for three of its periods is gone. */
const clientAliveMs = 90_000;
const sweepMs = 10_000;
const waitMsMax = 120_000;

/** Says what a client subscribes to, and hands it what any of its lite topics has. */
export class LiteReceiver {
  readonly #tables: BrokerTables;
  readonly #log: LogReader;
  readonly #journal: Journal;
  readonly #opener: Opener;
  readonly #receiver: Receiver;
  readonly #sink: ReceiveSink;
  readonly #clients = new Map<string, LiteClient>();
  /** By topic id: who wants it. */
  readonly #interested = new Map<number, Set<LiteClient>>();
  /** Parked receives by the number of their handle and timer. */
  readonly #polls: (LitePoll | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #timers: TimerWheel;
  #nextSweepMs = Number.POSITIVE_INFINITY;

  constructor(
    tables: BrokerTables,
    log: LogReader,
    journal: Journal,
    opener: Opener,
    receiver: Receiver,
    sink: ReceiveSink,
  ) {
    this.#tables = tables;
    this.#log = log;
    this.#journal = journal;
    this.#opener = opener;
    this.#receiver = receiver;
    this.#sink = sink;
    this.#timers = new TimerWheel(tables.clock.startMonotonicMs);
  }

  /** Whether somebody may wait for this topic: asked with each message that becomes visible. */
  isWanted(topicId: number): boolean {
    return this.#interested.size > 0 && this.#interested.has(topicId);
  }

  /** Adds, removes or replaces lite topics of a client. All names are checked before the first is taken. */
  sync(call: LiteSync, now: Now): LiteSynced {
    const parent = this.#tables.topics.byId(call.topicId);
    if (parent === undefined) {
      return { ok: false, code: Code.TopicNotFound, message: `topic ${call.topicId} is not open; open it again` };
    }
    if (!isLiteParent(parent.messageTypes)) {
      const message = `topic ${parent.name} has no lite topics; create it with the type lite`;
      return { ok: false, code: Code.IllegalTopic, message };
    }
    const wrong = call.liteTopics.find((name) => !isLiteTopicName(name));
    if (wrong !== undefined) {
      const message = `"${wrong.slice(0, 80)}" is no name of a lite topic: 1 to 64 letters, digits, _ and -`;
      return { ok: false, code: Code.IllegalLiteTopic, message };
    }
    const key = `${call.groupId} ${call.topicId} ${call.clientId}`;
    const known = this.#clients.get(key);
    const client = known ?? new LiteClient(key, call.groupId, call.topicId, now.monotonicMs);
    const wanted = wantedSet(client, call);
    if (wanted.size > quota + quotaTolerance) {
      const message = `a client subscribes to at most ${quota} lite topics at once; this one wants ${wanted.size}`;
      return { ok: false, code: Code.LiteSubscriptionQuotaExceeded, message };
    }
    if (this.#tables.topics.count + wanted.size - client.topics.size > liteTopicsMax) {
      const message = `this broker holds ${liteTopicsMax} topics, no more lite topics fit`;
      return { ok: false, code: Code.LiteTopicQuotaExceeded, message };
    }
    client.seenMs = now.monotonicMs;
    this.#clients.set(key, client);
    this.#nextSweepMs = Math.min(this.#nextSweepMs, now.monotonicMs + sweepMs);
    for (const [name, topicId] of [...client.topics]) if (!wanted.has(name)) this.#leave(client, name, topicId);
    let position = noPosition;
    for (const name of wanted) {
      if (!client.topics.has(name)) position = this.#join(client, parent, name, call, now);
    }
    this.#serve(client, now);
    return { ok: true, position };
  }

  /** As a receive of the parent topic; the result as of `BrokerPort.receive`. */
  receive(parent: Topic, groupId: number, request: PopRequest, waitMs: number, now: Now): number {
    const client = this.#clients.get(`${groupId} ${parent.id} ${request.clientId}`);
    if (client === undefined || !(waitMs > 0)) {
      if (client === undefined || !this.#answer(client, request, now)) this.#receiver.answerNothing(request);
      return answered;
    }
    if (client.polls.length === 0 && this.#answer(client, request, now)) return answered;
    const number = this.#free.pop() ?? this.#polls.length;
    const poll: LitePoll = { client, request, handle: answered - 1 - number };
    this.#polls[number] = poll;
    client.polls.push(poll);
    this.#timers.set(number, now.monotonicMs + Math.min(waitMs, waitMsMax));
    return poll.handle;
  }

  /** True when `handle` is one of ours and its receive was parked until now. */
  cancel(handle: number): boolean {
    const poll = this.#polls[answered - 1 - handle];
    if (poll === undefined) return false;
    this.#unpark(poll);
    return true;
  }

  /** Something of this topic became visible, or may be handed out again. */
  wake(topicId: number, now: Now): void {
    for (const client of this.#interested.get(topicId) ?? []) {
      client.ready.add(topicId);
      this.#serve(client, now);
    }
  }

  /** Ends waits, and forgets clients that are gone. */
  advance(now: Now): void {
    for (let timer = this.#timers.takeDue(now.monotonicMs); timer >= 0; timer = this.#timers.takeDue(now.monotonicMs)) {
      const poll = this.#polls[timer]!;
      this.#unpark(poll);
      this.#receiver.answerNothing(poll.request);
    }
    if (now.monotonicMs < this.#nextSweepMs) return;
    for (const client of this.#clients.values()) {
      if (client.seenMs > now.monotonicMs - clientAliveMs || client.polls.length > 0) continue;
      this.#forget(client);
    }
    this.#nextSweepMs = this.#clients.size > 0 ? now.monotonicMs + sweepMs : Number.POSITIVE_INFINITY;
  }

  nextTimerMs(): number {
    return Math.min(this.#timers.nextMs(), this.#nextSweepMs);
  }

  /** A parent topic is about to be dropped with its lite topics: its waiting calls are refused. */
  dropParent(parent: Topic): void {
    for (const client of this.#clients.values()) {
      if (client.parentId !== parent.id) continue;
      for (const poll of [...client.polls]) {
        this.#unpark(poll);
        const text = `topic ${parent.name} was deleted; fetch its route again`;
        this.#sink.receiveRefused(poll.request.ticket, Code.TopicNotFound, text);
      }
      this.#forget(client);
    }
  }

  #join(client: LiteClient, parent: Topic, name: string, call: LiteSync, now: Now): number {
    const topic = this.#opener.ownTopic(liteTopicName(parent.name, name), liteChildTypes);
    const isNew = this.#tables.subscription(client.groupId, topic.id) === undefined;
    this.#receiver.open(topic, client.groupId, now);
    const offset = this.#startOffset(topic, call, isNew);
    if (offset !== undefined) {
      this.#journal.cursorReset({
        ...{ groupId: client.groupId, topicId: topic.id, wallMs: now.wallMs },
        queues: [{ queueId: 0, offset }],
      });
    }
    client.topics.set(name, topic.id);
    client.ready.add(topic.id);
    const interested = this.#interested.get(topic.id);
    if (interested === undefined) this.#interested.set(topic.id, new Set([client]));
    else interested.add(client);
    return this.#journal.lastPosition;
  }

  /** Where the group begins in a lite topic; undefined: where it is, or where the broker lets new groups begin. */
  #startOffset(topic: Topic, { start }: LiteSync, isNew: boolean): number | undefined {
    if (!isNew || start === undefined || start.kind === "last") return undefined;
    const { queues } = this.#tables;
    const queue = topic.queues[0]!;
    const begin = queues.beginOffset(queue);
    const end = queues.visibleEnd(queue);
    const within = (offset: number): number => Math.min(Math.max(offset, begin), end);
    switch (start.kind) {
      case "min":
        return begin;
      case "max":
        return end;
      case "offset":
        return within(start.value);
      case "tail":
        return within(end - start.value);
      case "time":
        return offsetAtTime(queues, this.#log, queue, start.value);
    }
  }

  #leave(client: LiteClient, name: string, topicId: number): void {
    client.topics.delete(name);
    client.ready.delete(topicId);
    const interested = this.#interested.get(topicId);
    interested?.delete(client);
    if (interested?.size === 0) this.#interested.delete(topicId);
  }

  #forget(client: LiteClient): void {
    for (const [name, topicId] of [...client.topics]) this.#leave(client, name, topicId);
    this.#clients.delete(client.key);
  }

  /** Answers what waits, as long as there is something. A log that takes nothing leaves the calls parked. */
  #serve(client: LiteClient, now: Now): void {
    try {
      while (client.polls.length > 0 && client.ready.size > 0) {
        const poll = client.polls[0]!;
        if (!this.#answer(client, poll.request, now)) return;
        this.#unpark(poll);
      }
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
    }
  }

  /** Gives the call what the first ready topic has; that topic goes to the end of the line. */
  #answer(client: LiteClient, request: PopRequest, now: Now): boolean {
    for (const topicId of client.ready) {
      client.ready.delete(topicId);
      const topic = this.#tables.topics.byId(topicId);
      if (topic === undefined) continue;
      const subscription = this.#receiver.open(topic, client.groupId, now);
      if (!this.#receiver.tryAnswer(subscription, request, now)) continue;
      client.ready.add(topicId);
      return true;
    }
    return false;
  }

  #unpark(poll: LitePoll): void {
    const number = answered - 1 - poll.handle;
    this.#timers.cancel(number);
    this.#polls[number] = undefined;
    this.#free.push(number);
    const { polls } = poll.client;
    polls.splice(polls.indexOf(poll), 1);
  }
}

function wantedSet(client: LiteClient, { action, liteTopics }: LiteSync): Set<string> {
  switch (action) {
    case "add":
      return new Set([...client.topics.keys(), ...liteTopics]);
    case "remove":
      return new Set([...client.topics.keys()].filter((name) => !liteTopics.includes(name)));
    case "replace":
      return new Set(liteTopics);
    case "clear":
      return new Set();
  }
}
