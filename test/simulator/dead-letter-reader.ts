import type { GroupRef, TopicRef } from "../../sidecar/upstream/upstream.ts";
import { groupRef, topicRef } from "../support/upstream-client.ts";
import type { Mesh } from "./mesh.ts";
import { digestOf, factsOf } from "./seen-message.ts";

const reader = groupRef("dead-letter-reader", { attemptsMax: 0 });

/** Reads the dead-letter queue of a group to its end, after a run. */
export class DeadLetterReader {
  readonly #mesh: Mesh;
  readonly #origin: TopicRef;
  readonly #group: GroupRef;
  readonly #topic: TopicRef;
  #emptyAnswers = 0;

  constructor(mesh: Mesh, origin: TopicRef, group: GroupRef) {
    this.#mesh = mesh;
    this.#origin = origin;
    this.#group = group;
    this.#topic = topicRef(`%DLQ%${group.name.slice("default/".length)}`, { queueCount: 1 });
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
          ...{ op: "dead-letter", t0: 0, t1: world.nowMs, result: "ok", group: this.#group.name },
          ...{ topic: this.#origin.name, id, queue, offset, digest: digestOf(message) },
        });
      }
      this.start();
    });
  }
}
