import assert from "node:assert/strict";
import { Code } from "../../proto/code.ts";
import type { Answer, Got } from "./broker-fixture.ts";
import type { HeldReceipt } from "./broker-model.ts";
import type { RunParts } from "./broker-run-parts.ts";

interface ModelWaiter {
  readonly ticket: number;
  readonly handle: number;
  readonly batch: number;
  readonly invisibleMs: number;
  readonly clientId: string;
  readonly deadlineMs: number;
}

/** A batch that took turns in message groups: its client sees it when it is on disk. */
interface UnseenBatch {
  readonly groupIndex: number;
  readonly held: readonly HeldReceipt[];
}

/** Receives and what they are answered, beside the model. */
export class ModelHandOuts {
  readonly #run: RunParts;
  #waiters: ModelWaiter[][] = [[], [], []];
  #unseen: UnseenBatch[] = [];
  #lastAttempt: Parameters<ModelHandOuts["receive"]> | undefined;
  #checkedAnswers = 0;

  constructor(run: RunParts) {
    this.#run = run;
  }

  waitingCount(groupIndex: number): number {
    return this.#waiters[groupIndex]!.length;
  }

  get hasUnseen(): boolean {
    return this.#unseen.length > 0;
  }

  receive(groupIndex: number, batch: number, invisibleMs: number, clientId: string, attemptId: string, waitMs: number) {
    const group = this.#run.model.state.groups[groupIndex]!;
    const { ticket, handle } = this.#run.real.ask(this.#run.model.state.topicId, group.id, {
      batch,
      invisibleMs,
      waitMs,
      clientId,
      attemptId,
      filter: group.filter,
    });
    if (attemptId !== "") this.#lastAttempt = [groupIndex, batch, invisibleMs, clientId, attemptId, 0];
    group.start ??= this.#run.model.visibleEnds();
    const attemptKey = attemptId === "" ? "" : `${clientId}/${attemptId}`;
    const repeated = this.#run.model.batchOf(group, attemptKey);
    if (repeated.length > 0) {
      const got = this.takeBatch(ticket);
      assert.deepEqual(
        got.map((d) => [d.id, d.receipt.toString(), d.attempt]),
        repeated.map((id) => [id, group.leases.get(id)!.receipt, group.leases.get(id)!.attempt]),
        "the same attempt gets the same batch",
      );
      this.#checkDurability(groupIndex, ticket, got);
      for (const id of repeated) group.leases.get(id)!.copies++;
      this.#run.counts.repeated++;
    } else if (this.#run.model.room(group) === 0) {
      assert.equal(this.#run.real.refusal(ticket).code, Code.TooManyRequests, "a full group is refused");
      this.#checkedAnswers++;
    } else if (this.#run.model.available(group).length === 0 && waitMs > 0) {
      assert.equal(this.#run.real.answers.has(ticket), false, "a receive with nothing to get waits");
      const deadlineMs = this.#run.real.monotonicMs + waitMs;
      this.#waiters[groupIndex]!.push({ ticket, handle, batch, invisibleMs, clientId, deadlineMs });
      this.#run.counts.parked++;
    } else this.#takeFresh(groupIndex, ticket, batch, invisibleMs, clientId, attemptKey);
    this.#run.check();
  }

  /** The last attempt with an id is made again, as a client does that never saw the answer. */
  repeatAttempt(): void {
    if (this.#lastAttempt !== undefined) this.receive(...this.#lastAttempt);
  }

  cancel(index: number): void {
    const all = this.#waiters.flatMap((waiters) => waiters.map((waiter) => ({ waiters, waiter })));
    const chosen = all[index % Math.max(all.length, 1)];
    if (chosen === undefined) return;
    assert.equal(this.#run.real.state.cancelReceive(chosen.waiter.handle), true);
    assert.equal(this.#run.real.state.cancelReceive(chosen.waiter.handle), false, "a handle is good once");
    chosen.waiters.splice(chosen.waiters.indexOf(chosen.waiter), 1);
    this.#run.check();
  }

  /** What is on disk now clients see. */
  seeAll(): void {
    const seen = this.#unseen;
    this.#unseen = [];
    for (const batch of seen) this.#see(batch);
  }

  /** Order begins anew in a group: what clients have not seen yet says nothing of it. */
  forgetOrder(groupIndex: number): void {
    for (const batch of this.#unseen) if (batch.groupIndex === groupIndex) this.#run.receipts.push(...batch.held);
    this.#unseen = this.#unseen.filter((batch) => batch.groupIndex !== groupIndex);
  }

  /** Nobody waits any more, and nobody will see what is on its way. */
  crashed(): void {
    this.#waiters = [[], [], []];
    this.#unseen = [];
  }

  topicGone(): void {
    for (const { ticket } of this.#waiters.flat()) {
      assert.equal(this.#run.real.refusal(ticket).code, Code.TopicNotFound);
      this.#checkedAnswers++;
    }
    this.#waiters = [[], [], []];
  }

  /** Waits whose time has come are answered empty. */
  endWaits(): void {
    for (const [i, waiters] of this.#waiters.entries()) {
      for (const waiter of waiters.filter(({ deadlineMs }) => deadlineMs <= this.#run.real.monotonicMs)) {
        assert.deepEqual(this.takeBatch(waiter.ticket), [], "a wait that is over is answered empty");
      }
      this.#waiters[i] = waiters.filter(({ deadlineMs }) => deadlineMs > this.#run.real.monotonicMs);
    }
  }

  /** What a client sees of a message group it may build on: what came before must be settled, and no power cut undoes that. */
  #see({ groupIndex, held }: UnseenBatch): void {
    const { messages, groups } = this.#run.model.durable;
    const { start, filter, leases } = groups[groupIndex]!;
    for (const { messageId, topicId } of held) {
      const message = messages.find(({ id }) => id === messageId);
      if (topicId !== this.#run.model.durable.topicId || message === undefined || message.key === "") continue;
      for (const before of messages) {
        if (before.key !== message.key || before.offset >= message.offset) continue;
        if (before.position < this.#run.model.durable.logBegin) continue;
        if (before.offset < start![before.queueId]! || (filter !== "*" && filter !== before.tag)) continue;
        const lease = leases.get(before.id);
        if (lease?.wasRedriven === true) continue;
        const state = lease?.state;
        assert.ok(state === "acked" || state === "dead", `${messageId} is seen while ${before.id} is ${state} (C7)`);
      }
      this.#run.counts.inOrder++;
    }
    this.#run.receipts.push(...held);
  }

  /** Whoever waits is served as long as there is something: first come, first served. */
  serve(): void {
    for (const [i, waiters] of this.#waiters.entries()) {
      const group = this.#run.model.state.groups[i]!;
      while (waiters.length > 0 && this.#run.model.room(group) > 0 && this.#run.model.available(group).length > 0) {
        const { ticket, batch, invisibleMs, clientId } = waiters.shift()!;
        this.#takeFresh(i, ticket, batch, invisibleMs, clientId, "");
      }
    }
  }

  /** A new hand-out: the real choice must be one that the promises allow; then the model follows it. */
  #takeFresh(
    groupIndex: number,
    ticket: number,
    batch: number,
    invisibleMs: number,
    clientId: string,
    attemptKey: string,
  ): void {
    const group = this.#run.model.state.groups[groupIndex]!;
    const got = this.takeBatch(ticket);
    this.#checkDurability(groupIndex, ticket, got);
    const held: HeldReceipt[] = [];
    const available = this.#run.model.available(group);
    const ready = available.filter(({ id }) => group.leases.has(id));
    assert.equal(
      got.length,
      Math.min(batch, this.#run.model.room(group), available.length),
      `messages for ${group.name}`,
    );
    const again = got.slice(0, ready.length).map(({ id }) => id);
    assert.deepEqual(
      again,
      ready.slice(0, got.length).map(({ id }) => id),
      "redeliveries first, oldest first",
    );
    for (const delivery of got) {
      const message = this.#run.model.state.messages.find(({ id }) => id === delivery.id);
      assert.ok(message !== undefined, `${delivery.id} was never sent`);
      assert.deepEqual(
        [delivery.queueId, delivery.offset],
        [message.queueId, message.offset],
        "one offset, one message",
      );
      assert.equal(delivery.body, `body of ${delivery.id}`);
      const lease = group.leases.get(delivery.id);
      if (lease === undefined) {
        // Message groups go on independently of each other; what has none keeps to the order of its queue.
        const next = this.#run.model
          .available(group)
          .find((m) => m.queueId === message.queueId && m.key === message.key && !group.leases.has(m.id));
        assert.equal(next?.id, message.id, "new messages in the order of their queue or message group");
      } else assert.equal(lease.state, "ready", `${delivery.id} has a holder`);
      assert.equal(delivery.attempt, (lease?.attempt ?? 0) + 1, "attempts rise by one");
      group.leases.set(delivery.id, {
        state: "in-flight",
        attempt: delivery.attempt,
        endMs: this.#run.real.monotonicMs + invisibleMs,
        endWallMs: this.#run.real.wallMs + invisibleMs,
        invisibleMs,
        isOfEarlierBoot: false,
        receipt: delivery.receipt.toString(),
        attemptKey,
        isUncounted: false,
        copies: 0,
        holder: clientId,
        isQueued: false,
        wasRedriven: lease?.wasRedriven ?? false,
      });
      const receipt = Buffer.from(delivery.receipt);
      held.push({ groupIndex, topicId: this.#run.model.state.topicId, messageId: delivery.id, receipt });
    }
    this.#run.counts.delivered += got.length;
    if (got.some(({ group: key }) => key !== "")) this.#unseen.push({ groupIndex, held });
    else this.#run.receipts.push(...held);
  }

  #checkDurability(groupIndex: number, ticket: number, got: readonly Got[]): void {
    const answer = this.#run.real.answers.get(ticket);
    const mustBeDurable = got.some(({ group: key }) => key !== "") || this.#run.model.isNew(groupIndex);
    assert.equal(answer?.kind === "batch" && answer.mustBeDurable, mustBeDurable, "when the answer may leave");
  }

  /** What a receive was answered that must be answered by now. */
  takeBatch(ticket: number): readonly Got[] {
    this.#checkedAnswers++;
    return this.#run.real.got(ticket);
  }

  /** No answer that was not predicted. */
  check(): void {
    assert.equal(this.#run.real.answeredTickets.length, this.#checkedAnswers, this.#unexpected());
  }

  #unexpected(): string {
    const last = this.#run.real.answeredTickets.at(-1) ?? 0;
    const answer: Answer | undefined = this.#run.real.answers.get(last);
    return `an answer nobody predicted, last ticket ${last}: ${JSON.stringify(answer)}`;
  }
}
