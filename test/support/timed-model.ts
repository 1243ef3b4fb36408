import assert from "node:assert/strict";
import { RecordType } from "../../broker-core/commit-log/log.ts";
import { messageId } from "../../broker-core/record/message-record.ts";
import { readReleaseRecord } from "../../broker-core/record/release-record.ts";
import { readStoredMessage } from "../../broker-core/record/stored-message.ts";
import { Code } from "../../proto/code.ts";
import type { BrokerFixture } from "./broker-fixture.ts";

/** `recalledAgain`: repeated recalls that were answered OK; `numbersReused`: after a power cut, with a handle that was lost. */
export const timedCountsBlank = {
  ...{ timed: 0, released: 0, recalled: 0, recalledAgain: 0, recallsRefused: 0, numbersReused: 0 },
};

export interface ModelTimed {
  readonly messageId: string;
  readonly tag: string;
  readonly dueMs: number;
  /** Within the record that holds it. */
  position: number;
  /** "gone": with its topic, while it waited. */
  state: "waiting" | "released" | "recalled" | "gone";
}

/** What the log knows of timed messages, in the order of their sends: rolled back by a crash. */
export interface TimedState {
  readonly messages: ModelTimed[];
  /** The latest due time that was released. */
  releasedThroughMs: number;
}

export const timedStateBlank = (): TimedState => ({ messages: [], releasedThroughMs: 0 });

/** Where a release put a message. */
export interface Released {
  readonly messageId: string;
  readonly tag: string;
  readonly queueId: number;
  readonly offset: number;
  readonly position: number;
}

/** What the broker promises about timed messages, beside `BrokerRun`, which keeps and rolls back their state with all else. */
export class TimedModel {
  readonly #real: BrokerFixture;
  /** Every handle that was ever given out, also those of messages that a power cut took; then those that are about to be. */
  #handed: { readonly handle: string; readonly topicId: number; readonly timed: ModelTimed }[] = [];
  /** So many of them were given out: their messages were written. */
  #givenCount = 0;
  /** Due records below were looked at. */
  #lookedTo = 0;
  readonly counts = { ...timedCountsBlank };

  constructor(real: BrokerFixture) {
    this.#real = real;
  }

  /** Handles given out so far. */
  get givenCount(): number {
    return this.#givenCount;
  }

  /** Everything appended is written: answers may leave (with `--flush async`; else when it is on disk). */
  written(): void {
    this.#givenCount = this.#handed.length;
  }

  send(state: TimedState, topicId: number, id: string, tag: string, aheadMs: number): void {
    const real = this.#real;
    const dueMs = real.wallMs + aheadMs;
    const handle = real.sendTimed(topicId, dueMs, { id, tag, body: `body of ${id}` });
    assert.notEqual(handle, "", "what is ahead waits");
    const position = real.log.endPosition - 1;
    const timed: ModelTimed = { messageId: id, tag, dueMs, position, state: "waiting" };
    state.messages.push(timed);
    this.#handed.push({ handle, topicId, timed });
    this.counts.timed++;
  }

  /** Recalls with any handle that was ever given out. */
  recall(state: TimedState, topicId: number, index: number): void {
    const handed = this.#givenCount === 0 ? undefined : this.#handed[index % this.#givenCount];
    if (handed === undefined) return;
    const { messageId: id, dueMs } = handed.timed;
    const known = state.messages.find((timed) => timed.messageId === id);
    const recalled = this.#real.recall(topicId, handed.handle);
    const isPast = dueMs <= state.releasedThroughMs;
    const expected =
      handed.topicId !== topicId
        ? Code.BadRequest
        : known?.state === "waiting"
          ? Code.Ok
          : // Released; or recalled, or taken by a power cut, which it will never be told apart from later on.
            known?.state === "released" || isPast
            ? Code.Forbidden
            : Code.Ok;
    assert.equal(
      recalled.ok ? Code.Ok : recalled.code,
      expected,
      `recall of ${id}, which is ${known?.state ?? "lost"}: ${recalled.ok ? "OK" : recalled.message}`,
    );
    if (!recalled.ok) {
      this.counts.recallsRefused++;
      return;
    }
    assert.equal(recalled.messageId, id);
    if (known?.state === "waiting") {
      known.state = "recalled";
      this.counts.recalled++;
    } else this.counts.recalledAgain++;
  }

  /**
   * The broker has looked at its clock: exactly what is due by it was released, in the order of due times and sends. The log
   * tells where each went.
   */
  look(state: TimedState): readonly Released[] {
    const real = this.#real;
    const inOrder = state.messages
      .filter((timed) => timed.state === "waiting" && timed.dueMs <= real.wallMs)
      .sort((a, b) => a.dueMs - b.dueMs);
    // What is not written yet cannot be read, and what is due behind it waits with it.
    const unwritten = inOrder.findIndex(({ position }) => position >= real.log.writtenPosition);
    const due = unwritten < 0 ? inOrder : inOrder.slice(0, unwritten);
    const released: Released[] = [];
    for (const record of real.log.records(this.#lookedTo)) {
      if (record.type !== RecordType.Due) continue;
      const { position } = record;
      const { queueId, offset } = readReleaseRecord(record.body, 0, record.body.length);
      const { body, start } = readStoredMessage({ read: (at) => real.log.look(at) }, position);
      const id = messageId(body, start);
      const tag = state.messages.find((timed) => timed.messageId === id)?.tag ?? "";
      released.push({ messageId: id, tag, queueId, offset, position });
    }
    this.#lookedTo = real.log.endPosition;
    assert.deepEqual(
      released.map((release) => release.messageId),
      due.map((timed) => timed.messageId),
      `released by ${real.wallMs}`,
    );
    for (const timed of due) {
      timed.state = "released";
      state.releasedThroughMs = Math.max(state.releasedThroughMs, timed.dueMs);
    }
    this.counts.released += due.length;
    return released;
  }

  /** What waits and is written was written again. */
  carried(state: TimedState, writtenPosition: number): void {
    for (const timed of state.messages) {
      if (timed.state === "waiting" && timed.position < writtenPosition)
        timed.position = this.#real.log.endPosition - 1;
    }
  }

  /** Records from `position` on are new. */
  crashed(position: number): void {
    this.#handed = this.#handed.slice(0, this.#givenCount);
    this.#lookedTo = position;
  }

  topicGone(state: TimedState): void {
    for (const timed of state.messages) if (timed.state === "waiting") timed.state = "gone";
  }

  /** So that nothing waits any more at the next look. */
  toTheLastDue(state: TimedState): void {
    const waiting = state.messages.filter((timed) => timed.state === "waiting");
    this.#real.wallMs = Math.max(this.#real.wallMs, ...waiting.map(({ dueMs }) => dueMs));
  }

  /** After every step. */
  check(state: TimedState, topicId: number): void {
    const waiting = state.messages.filter((timed) => timed.state === "waiting").length;
    const figures = this.#real.state.topics().find(({ id }) => id === topicId);
    assert.equal(figures?.delayed, waiting, "waiting messages");
  }
}
