import { Code } from "../../proto/code.ts";
import type { Randomness } from "../../proto/runtime/randomness.ts";
import type { TopicRef } from "../../sidecar/upstream/upstream.ts";
import type { Mesh } from "./mesh.ts";
import { isOpen } from "./sidecar-node.ts";

const timeoutMs = 3_000;
/** Of all timed messages. */
const recalledShare = 0.3;

/** How producers take timed messages back: before their time, around it and long after, once and again. */
export class Recalls {
  readonly #mesh: Mesh;
  readonly #randomness: Randomness;
  /** On their way. */
  #open = 0;
  /** The run is over: nothing more is taken back. */
  isStopped = false;

  constructor(mesh: Mesh) {
    this.#mesh = mesh;
    this.#randomness = mesh.world.randomness();
  }

  get isIdle(): boolean {
    return this.#open === 0;
  }

  /** A message waits for its time, `aheadMs` from now if nobody sets the clock. */
  stored(id: string, topic: TopicRef, handle: string, aheadMs: number): void {
    if (this.#randomness.fraction() >= recalledShare) return;
    const spanMs = Math.min(Math.max(aheadMs, 0), 2_000);
    const inMs = this.#randomness.fraction() * (this.#randomness.fraction() < 0.5 ? 10 : 1.3 * spanMs);
    this.#mesh.world.after(inMs, undefined, () => this.#recall(id, topic, handle));
  }

  #recall(id: string, topic: TopicRef, handle: string): void {
    if (this.isStopped) return;
    if (this.#randomness.fraction() < 0.05) this.#forge(id, topic, handle);
    const { world, history, counts } = this.#mesh;
    const t0 = world.nowMs;
    this.#open++;
    this.#mesh.sidecar(this.#randomness).recall({ topic, recallHandle: handle }, timeoutMs, (answer) => {
      this.#open--;
      const isOk = answer !== "died" && answer.ok;
      const result = isOk ? "ok" : isOpen(answer) ? "info" : "fail";
      history.add({
        ...{ op: "recall", t0, t1: world.nowMs, result, topic: topic.name, id },
        ...(answer !== "died" && !answer.ok ? { code: answer.code } : {}),
      });
      if (isOk) counts.recallsOk++;
      else counts.recallsRefused++;
      if (isOk && answer.messageId !== id)
        this.#mesh.violate(`B8: the recall of ${id} was answered ${answer.messageId}`);
      const isRepeated = this.#randomness.fraction() < (result === "info" ? 0.7 : 0.2);
      if (isRepeated) world.after(20, undefined, () => this.#recall(id, topic, handle));
    });
  }

  /** With a handle that nobody was given. */
  #forge(id: string, topic: TopicRef, handle: string): void {
    const at = handle.length - 1 - Math.floor(this.#randomness.fraction() * 20);
    const forged = handle.slice(0, at) + (handle[at] === "A" ? "B" : "A") + handle.slice(at + 1);
    this.#open++;
    this.#mesh.sidecar(this.#randomness).recall({ topic, recallHandle: forged }, timeoutMs, (answer) => {
      this.#open--;
      if (answer !== "died" && answer.ok) this.#mesh.violate(`B8: the forged handle ${forged} took ${id} back`);
      if (answer !== "died" && !answer.ok && answer.reach === "refused" && answer.code === Code.Forbidden) {
        this.#mesh.violate(`B8: the forged handle ${forged} was answered as if it were one`);
      }
    });
  }
}
