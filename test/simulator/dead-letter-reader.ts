import type { TopicRef } from "../../sidecar/upstream/upstream.ts";
import { groupRef, topicRef } from "../support/upstream-client.ts";
import type { Mesh } from "./mesh.ts";
import { deadLetterGroupOf, type GroupPlan, nameOf } from "./plan.ts";
import { digestOf, factsOf } from "./seen-message.ts";

const reader = groupRef("dead-letter-reader", { attemptsMax: 0 });

/** Reads the dead-letter queue of a group to its end, after a run. */
export class DeadLetterReader {
  readonly #mesh: Mesh;
  readonly #origin: TopicRef;
  readonly #group: string;
  readonly #owners: readonly GroupPlan[];
  readonly #topic: TopicRef;
  #emptyAnswers = 0;

  /** `group` is whom the queue is named after; its messages are those of one of the `groups` of the topic, or of several. */
  constructor(mesh: Mesh, origin: TopicRef, group: string, groups: readonly GroupPlan[]) {
    this.#mesh = mesh;
    this.#origin = origin;
    this.#group = group;
    this.#owners = groups.filter((owner) => deadLetterGroupOf(owner) === group);
    this.#topic = topicRef(`%DLQ%${group.slice("default/".length)}`, { queueCount: 1 });
  }

  get isDone(): boolean {
    return this.#emptyAnswers >= 2;
  }

  start(): void {
    const { world, history, sidecars, counts } = this.#mesh;
    const request = {
      ...{ topic: this.#topic, group: reader, batch: 32, invisibleMs: 60_000, waitMs: 20, filterType: 1, filter: "*" },
      ...{ clientId: "dead-letters", attemptId: "", lane: "base", bytesMax: 0 },
    };
    sidecars[0]!.receive(request, 3_000, (answer) => {
      if (answer === "died" || !answer.ok || this.isDone) {
        if (!this.isDone) world.after(20, undefined, () => this.start());
        return;
      }
      if (answer.deliveries.length === 0) this.#emptyAnswers++;
      for (const { message, offset, queueId: queue, deadLetter } of answer.deliveries) {
        const { id } = factsOf(message);
        if (deadLetter?.messageId !== id || deadLetter.topic !== this.#origin.name) {
          this.#mesh.violate(`B6: dead letter ${id} says that it was ${deadLetter?.messageId} of ${deadLetter?.topic}`);
        }
        counts.deadLetters++;
        history.add({
          ...{ op: "dead-letter", t0: 0, t1: world.nowMs, result: "ok", group: this.#ownerAt(offset) },
          ...{ topic: this.#origin.name, id, queue, offset, digest: digestOf(message) },
        });
      }
      this.start();
    });
  }
  /** Instances of a broadcast group share one queue: the last holder says whose a message was. */
  #ownerAt(offset: number): string {
    const [first] = this.#owners;
    if (first?.instance === undefined) return this.#group;
    const { broker, machine } = this.#mesh.node;
    const now = { monotonicMs: machine.monotonicMs, wallMs: machine.wallMs };
    const listed = broker?.state.operate("dlq.list", { group: this.#group, from: offset, count: 1 }, now);
    if (listed === undefined || listed instanceof Promise || !listed.ok) throw new Error("dlq.list gave no answer");
    const { items } = listed.result as { items: readonly { offset: number; lastHolder: string }[] };
    const holder = items.find((item) => item.offset === offset)?.lastHolder;
    const owner = this.#owners.find(({ instance }) => instance?.clientId === holder);
    if (owner === undefined) throw new Error(`dead letter ${offset} of ${this.#group} says that ${holder} had it last`);
    return nameOf(owner);
  }
}
