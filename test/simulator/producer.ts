import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import type { Mesh } from "./mesh.ts";
import type { TopicPlan } from "./plan.ts";
import { digestOf } from "./seen-message.ts";
import { isOpen } from "./sidecar-node.ts";

const timeoutMs = 3_000;

/** An application that sends one message after the other, some at once, and never the same one twice. */
export class SimulatedProducer {
  readonly #mesh: Mesh;
  readonly #name: string;
  readonly #randomness: Randomness;
  #next = 0;
  isStopped = false;

  constructor(mesh: Mesh, name: string) {
    this.#mesh = mesh;
    this.#name = name;
    this.#randomness = mesh.world.randomness();
  }

  start(): void {
    for (let i = 0; i < this.#mesh.plan.sendsOpen; i++) this.#sendLater();
  }

  #sendLater(waitMs = 0): void {
    const thinkMs = waitMs + this.#randomness.fraction() * this.#mesh.plan.thinkMsMax;
    this.#mesh.world.after(thinkMs, undefined, () => {
      if (this.isStopped) return;
      if (this.#mesh.isBehind) {
        this.#sendLater(50);
        return;
      }
      const { topics } = this.#mesh.plan;
      this.#send(topics[randomIndex(this.#randomness, topics.length)]!);
    });
  }

  #send(topic: TopicPlan): void {
    const { world, history, plan, node, applications, dueTimes } = this.#mesh;
    const id = `${this.#name}-${this.#next++}`;
    const bodyBytes = randomIndex(this.#randomness, plan.bodyBytesMax);
    // Clocks mostly agree, also when they are wrong.
    const wallMs = this.#randomness.fraction() < 0.7 ? node.machine.wallMs : applications.wallMs;
    const { bytes, seen, dueMs } = topic.kind.compose(id, bodyBytes, this.#randomness, wallMs);
    if (dueMs !== undefined) dueTimes.note(id, dueMs);
    const t0 = world.nowMs;
    const request = { topic: topic.ref, laneMark: "", bornHost: "10.0.0.1", messages: [bytes] };
    this.#mesh.sidecar(this.#randomness).send(request, timeoutMs, (answer) => {
      const stored = answer !== "died" && answer.ok ? answer : undefined;
      const handle = stored?.recallHandles?.[0];
      const result = stored !== undefined ? "ok" : isOpen(answer) ? "info" : "fail";
      history.add({
        ...{ op: "send", client: this.#name, t0, t1: world.nowMs, result, id, topic: topic.ref.name },
        ...{ digest: digestOf(bytes), ...seen },
        ...(answer !== "died" && !answer.ok ? { code: answer.code } : {}),
        // A half message gets its place with its commit, a timed one when it is due.
        ...(stored === undefined || stored.transactionId !== "" || handle !== undefined
          ? {}
          : { queue: stored.queueId, offset: stored.firstOffset }),
      });
      this.#mesh.counts.sends++;
      if (stored !== undefined && stored.transactionId !== "") {
        this.#mesh.transactions.stored(id, topic.ref.name, stored.transactionId);
      }
      if (handle !== undefined) {
        this.#mesh.counts.timed++;
        this.#mesh.recalls.stored(id, topic.ref, handle, (dueMs ?? 0) - node.machine.wallMs);
      }
      if (result === "ok") {
        this.#mesh.counts.sendsOk++;
        this.#mesh.newestSendMs = Math.max(this.#mesh.newestSendMs, t0);
      }
      if (result === "ok" && history.isInFault) this.#mesh.counts.sendsOkInFaults++;
      this.#sendLater(result === "ok" ? 0 : 20);
    });
  }
}
