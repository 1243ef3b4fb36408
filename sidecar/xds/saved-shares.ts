import { popmesh } from "#codec/popmesh-v1";
import type { Clock } from "../../proto/runtime/clock.ts";
import type { LimitShare } from "../limit/limiter.ts";
import type { ShareMemory } from "../limit/share-keeper.ts";
import type { LastKnownGood } from "./last-known-good.ts";

/** Under this type the shares of limits lie beside the last good configuration. It is never asked for over xDS. */
const shareType = "type.googleapis.com/popmesh.v1.LimitShare";

/** The last share of each limit, for a sidecar that starts while nobody can be asked. */
export class SavedShares implements ShareMemory {
  readonly #lastKnownGood: LastKnownGood;
  readonly #clock: Clock;

  constructor(lastKnownGood: LastKnownGood, clock: Clock) {
    this.#lastKnownGood = lastKnownGood;
    this.#clock = clock;
  }

  get(name: string): LimitShare | undefined {
    const bytes = this.#lastKnownGood.get(shareType, name)?.bytes;
    if (bytes === undefined) return undefined;
    try {
      const { messages, bytes: share } = popmesh.v1.LimitShare.decode(bytes);
      return { messages, bytes: share };
    } catch {
      return undefined;
    }
  }

  put(name: string, share: LimitShare): void {
    const nowMs = this.#clock.wallMs();
    const bytes = popmesh.v1.LimitShare.encode({ name, ...share }).finish();
    this.#lastKnownGood.put({ typeUrl: shareType, name, version: "", savedAtMs: nowMs, usedAtMs: nowMs, bytes });
  }

  remove(name: string): void {
    this.#lastKnownGood.remove(shareType, name);
  }
}
