/** What is found when the control plane starts. */
export interface StoreFound {
  /** Last count of topics and groups, kept outside the store; undefined when there is no marker. */
  readonly markerCount: number | undefined;
  /** Topics and groups in the store; undefined when there is no store. */
  readonly storeCount: number | undefined;
  /** The operator or supervisor says that a store may be created here. */
  readonly bootstrap: boolean;
  /** The operator has seen that resources are gone and wants to serve what is left. */
  readonly acceptEmptyStore: boolean;
}

export type GuardDecision = { readonly serve: true } | { readonly serve: false; readonly reason: string };

/**
 * Whether the store may be served. An empty control plane answers "does not exist" to every sidecar: the worst outage it can
 * cause. So a store that is missing or has lost more than half of what was last known is not served until somebody confirms.
 */
export function guardStore(found: StoreFound): GuardDecision {
  const { markerCount, storeCount } = found;
  if (found.acceptEmptyStore) return { serve: true };
  if (storeCount === undefined && (markerCount ?? 0) === 0) {
    if (found.bootstrap) return { serve: true };
    return refuse(
      "there is no store in the data directory. Is it the right one, and mounted? If this is the first start, allow a " +
        "store to be created: --bootstrap true",
    );
  }
  if (markerCount !== undefined && (storeCount ?? 0) * 2 < markerCount) {
    return refuse(
      `the store holds ${storeCount ?? 0} topics and groups, but ${markerCount} were known when it was last open. Serving it ` +
        "would tell every sidecar that the others do not exist. Restore the store from a backup, or confirm the loss: " +
        "--accept-empty-store true",
    );
  }
  return { serve: true };
}

function refuse(reason: string): GuardDecision {
  return { serve: false, reason };
}
