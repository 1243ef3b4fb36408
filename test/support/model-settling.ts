import assert from "node:assert/strict";
import { ChangeKind } from "../../broker-core/broker-port.ts";
import { Code } from "../../proto/code.ts";
import { topicName } from "./broker-model.ts";
import type { RunParts } from "./broker-run-parts.ts";

/** What clients and operators do with messages that were handed out, beside the model. */
export class ModelSettling {
  readonly #run: RunParts;

  constructor(run: RunParts) {
    this.#run = run;
  }

  /** Acks with any receipt ever handed out, mostly one that is stale by now; maybe by the wrong group. */
  ack(index: number, asOtherGroup: boolean): void {
    const held = this.#run.receipts[index % Math.max(this.#run.receipts.length, 1)];
    if (held === undefined) return;
    const groups = this.#run.model.state.groups;
    const group = groups[asOtherGroup ? (held.groupIndex + 1) % groups.length : held.groupIndex]!;
    const result = this.#run.real.ack(group.id, held.receipt);
    const expected = asOtherGroup ? "void" : this.#run.model.worth(held);
    assert.equal(
      result.code,
      expected === "void" ? Code.InvalidReceiptHandle : Code.Ok,
      `ack of ${held.messageId}: ${result.message}`,
    );
    if (expected === "void") {
      assert.notEqual(result.message, "");
      this.#run.counts.stale++;
    }
    if (expected === "held") {
      group.leases.get(held.messageId)!.state = "acked";
      this.#run.model.promote(group);
      this.#run.counts.acked++;
    }
    this.#run.handOuts.serve();
    this.#run.check();
  }

  change(index: number, kind: ChangeKind, invisibleMs: number): void {
    const held = this.#run.receipts[index % Math.max(this.#run.receipts.length, 1)];
    if (held === undefined) return;
    const group = this.#run.model.state.groups[held.groupIndex]!;
    const result = this.#run.real.change(group.id, held.receipt, kind, invisibleMs);
    if (this.#run.model.worth(held) !== "held") {
      assert.equal(result.code, Code.InvalidReceiptHandle, `change of ${held.messageId}`);
      this.#run.counts.stale++;
      this.#run.check();
      return;
    }
    assert.equal(result.code, Code.Ok, result.message);
    const lease = group.leases.get(held.messageId)!;
    const isHandBack = kind === ChangeKind.HandBack;
    if (isHandBack && lease.copies > 0) {
      lease.copies--;
      this.#run.endDue();
      this.#run.handOuts.serve();
      this.#run.check();
      return;
    }
    const ms = isHandBack ? 0 : invisibleMs;
    lease.endMs = this.#run.real.monotonicMs + ms;
    lease.endWallMs = this.#run.real.wallMs + ms;
    lease.invisibleMs = ms;
    lease.isOfEarlierBoot = false;
    if (kind === ChangeKind.Extend) {
      assert.deepEqual(result.receipt, held.receipt, "an extension keeps the receipt");
    } else {
      lease.attemptKey = "";
      lease.copies = 0;
      if ((isHandBack || kind === ChangeKind.Suspend) && !lease.isUncounted) {
        lease.attempt--;
        lease.isUncounted = true;
      }
      assert.equal(result.receipt === undefined, isHandBack);
      lease.receipt = result.receipt?.toString() ?? "nobody's";
      if (result.receipt !== undefined) this.#run.receipts.push({ ...held, receipt: result.receipt });
    }
    this.#run.endDue();
    this.#run.handOuts.serve();
    this.#run.check();
  }

  /** The holder gives a message up. */
  forward(index: number): void {
    const held = this.#run.receipts[index % Math.max(this.#run.receipts.length, 1)];
    if (held === undefined) return;
    const group = this.#run.model.state.groups[held.groupIndex]!;
    const worth = this.#run.model.worth(held);
    const lease = held.topicId === this.#run.model.state.topicId ? group.leases.get(held.messageId) : undefined;
    const isDeadByThis = lease?.state === "dead" && lease.receipt === held.receipt.toString();
    const result = this.#run.real.deadLetter(group.id, held.receipt);
    const isVoid = worth === "void" && !isDeadByThis;
    assert.equal(result.code, isVoid ? Code.InvalidReceiptHandle : Code.Ok, `forward of ${held.messageId}`);
    if (worth === "held") {
      this.#run.bury(group, held.messageId, lease!);
      this.#run.counts.forwarded++;
    }
    this.#run.handOuts.serve();
    this.#run.check();
  }

  /** An operator gives a dead letter back to its group. */
  redrive(groupIndex: number, index: number): void {
    // The dead-letter queue shows what is on disk.
    this.#run.sync();
    const group = this.#run.model.state.groups[groupIndex]!;
    const dead = [...group.leases].filter(([, { state }]) => state === "dead");
    const [id, lease] = dead[index % Math.max(dead.length, 1)] ?? [];
    if (id === undefined || lease === undefined) return;
    const { messageIds } = this.#run.real.operate<{ messageIds: string[] }>("dlq.redrive", {
      ...{ group: group.name, messageIds: [id] },
    });
    // Retention may have taken the dead letter; what it was is known then, but nobody finds it.
    if (this.#run.model.state.logBegin === 0 || messageIds.length > 0) {
      assert.deepEqual(messageIds, [id]);
      const { key } = this.#run.model.state.messages.find((message) => message.id === id)!;
      lease.isQueued = key !== "" && this.#run.model.holdsLock(group, key);
      lease.wasRedriven = true;
      lease.state = "ready";
      lease.attempt = 0;
      lease.isUncounted = false;
      lease.attemptKey = "";
      lease.endWallMs = 0;
      lease.invisibleMs = 0;
      lease.isOfEarlierBoot = false;
      this.#run.counts.redriven++;
    }
    this.#run.handOuts.serve();
    this.#run.check();
  }

  /** An operator has a group go on elsewhere. */
  reset(groupIndex: number, to: "earliest" | "latest" | number): void {
    const group = this.#run.model.state.groups[groupIndex]!;
    this.#run.real.operate("group.reset", {
      ...{ group: group.name, topic: topicName, to: typeof to === "number" ? { offset: to } : to },
    });
    if (group.start !== undefined) {
      const gone = this.#run.model.state.messages.filter(({ position }) => position < this.#run.model.state.logBegin);
      const ends = this.#run.model.visibleEnds();
      group.start = ends.map((end, q) => {
        const begin = gone.filter(({ queueId }) => queueId === q).length;
        const wanted = to === "earliest" ? begin : to === "latest" ? end : to;
        return Math.min(Math.max(wanted, begin), Math.max(end, begin));
      });
      for (const { id, queueId, offset } of this.#run.model.state.messages) {
        const lease = group.leases.get(id);
        if (lease === undefined || (offset < group.start[queueId]! && lease.state === "dead")) continue;
        group.leases.delete(id);
      }
      this.#run.handOuts.forgetOrder(groupIndex);
      this.#run.counts.resets++;
    }
    this.#run.handOuts.serve();
    this.#run.check();
  }
}
