import type { Randomness } from "../../proto/runtime/randomness.ts";
import type { OrphanedTransaction } from "../../sidecar/upstream/upstream.ts";
import type { Mesh } from "./mesh.ts";
import { factsOf } from "./seen-message.ts";
import { isOpen } from "./sidecar-node.ts";

/** Numbers of enum TransactionResolution and TransactionSource. */
const resolutions = { commit: 1, rollback: 2 } as const;
const sources = { client: 1, check: 2 } as const;
const timeoutMs = 3_000;

type Decision = keyof typeof resolutions;

/**
 * How producers end their transactions. What one decided it answers for ever, also when it is asked; now and then it says
 * nothing at first, or its word is lost.
 */
export class TransactionEnds {
  readonly #mesh: Mesh;
  readonly #randomness: Randomness;
  readonly #decisions = new Map<string, Decision>();
  /** Ends on their way. */
  #open = 0;
  /** The run is over: who is asked now says nothing, so that nothing becomes visible behind the end. */
  isSilent = false;

  constructor(mesh: Mesh) {
    this.#mesh = mesh;
    this.#randomness = mesh.world.randomness();
  }

  get isIdle(): boolean {
    return this.#open === 0;
  }

  /** A half message was stored. */
  stored(id: string, topic: string, transactionId: string): void {
    if (this.#randomness.fraction() < 0.25) return;
    const afterMs = this.#randomness.fraction() * (this.#randomness.fraction() < 0.8 ? 20 : 2_000);
    this.#open++;
    this.#mesh.world.after(afterMs, undefined, () => {
      this.#end(id, topic, transactionId, sources.client);
      this.#open--;
    });
  }

  /** A sidecar passes the broker's question on. */
  asked({ topic, transactionId, message }: OrphanedTransaction): void {
    const { id } = factsOf(message);
    this.#mesh.counts.questions++;
    if (!this.isSilent && this.#randomness.fraction() < 0.7) this.#end(id, topic, transactionId, sources.check);
  }

  #end(id: string, topic: string, transactionId: string, source: number): void {
    const { world, history, counts } = this.#mesh;
    let decision = this.#decisions.get(id);
    if (decision === undefined)
      this.#decisions.set(id, (decision = this.#randomness.fraction() < 0.8 ? "commit" : "rollback"));
    const op = decision;
    const t0 = world.nowMs;
    this.#open++;
    const request = { topic, transactionId, resolution: resolutions[op], source };
    this.#mesh.sidecar(this.#randomness).endTransaction(request, timeoutMs, (answer) => {
      this.#open--;
      const isOk = answer !== "died" && answer.ok;
      const result = isOk ? "ok" : isOpen(answer) ? "info" : "fail";
      history.add({ op, t0, t1: world.nowMs, result, topic, id });
      counts.transactionEnds++;
      if (result === "info" && this.#randomness.fraction() < 0.7 && !this.isSilent) {
        world.after(20, undefined, () => this.#end(id, topic, transactionId, source));
      }
    });
  }
}
