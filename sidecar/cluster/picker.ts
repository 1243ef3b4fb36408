import type { Endpoint } from "./endpoint.ts";

/**
 * One immutable view of who may be asked. A change of configuration or of an ejection makes a new picker; nobody edits
 * this one, so a call sees the same candidates from its first attempt to its last.
 */
export class Picker {
  /** Endpoints that take new sends, in no order. */
  readonly candidates: readonly Endpoint[];

  constructor(candidates: readonly Endpoint[]) {
    this.candidates = candidates;
  }

  /**
   * Least request by the power of two choices: of two candidates drawn at random the one with fewer open requests.
   * A candidate without a working connection is taken only if no other has one. `excluded` was tried by this call already.
   * `fractions` draws from [0, 1). Undefined when nothing is left.
   */
  pick(fractions: () => number, excluded?: Endpoint): Endpoint | undefined {
    const candidates = this.candidates;
    const count = candidates.length;
    if (count === 0) return undefined;
    if (count === 1) return candidates[0] === excluded ? undefined : candidates[0];
    const firstIndex = Math.floor(fractions() * count);
    // Drawn from the others, so that two different ones are compared.
    const secondIndex = (firstIndex + 1 + Math.floor(fractions() * (count - 1))) % count;
    const first = usable(candidates[firstIndex]!, excluded);
    const second = usable(candidates[secondIndex]!, excluded);
    if (first !== undefined && second !== undefined) {
      return second.upstream.openRequestCount < first.upstream.openRequestCount ? second : first;
    }
    return first ?? second ?? anyOther(candidates, excluded);
  }
}

function usable(endpoint: Endpoint, excluded: Endpoint | undefined): Endpoint | undefined {
  return endpoint !== excluded && endpoint.upstream.isReady ? endpoint : undefined;
}

/** The two drawn are of no use: the least loaded of the ready ones, else any that may become ready. */
function anyOther(candidates: readonly Endpoint[], excluded: Endpoint | undefined): Endpoint | undefined {
  let best: Endpoint | undefined;
  for (const endpoint of candidates) {
    if (endpoint === excluded) continue;
    if (best === undefined || isBetter(endpoint, best)) best = endpoint;
  }
  return best;
}

function isBetter(a: Endpoint, b: Endpoint): boolean {
  if (a.upstream.isReady !== b.upstream.isReady) return a.upstream.isReady;
  return a.upstream.openRequestCount < b.upstream.openRequestCount;
}

/**
 * Who of `endpoints` takes new sends: healthy, of the best priority that has a healthy one within its cluster, and not
 * ejected. If ejections leave nobody, they are ignored: a doubtful broker is better than none. Where nobody is healthy those that are
 * degraded are asked: they take no messages, and say why.
 */
export function sendCandidates(endpoints: readonly Endpoint[], isEjected: (endpoint: Endpoint) => boolean): Endpoint[] {
  for (const health of ["healthy", "degraded"] as const) {
    const bestPriority = new Map<string, number>();
    const wanted = endpoints.filter((endpoint) => endpoint.health === health);
    for (const { cluster, priority } of wanted) {
      bestPriority.set(cluster, Math.min(bestPriority.get(cluster) ?? priority, priority));
    }
    const best = wanted.filter(({ cluster, priority }) => priority === bestPriority.get(cluster));
    const kept = best.filter((endpoint) => !isEjected(endpoint));
    if (best.length > 0) return kept.length > 0 ? kept : best;
  }
  return [];
}

const receiveRank = { healthy: 0, degraded: 0, draining: 1, unhealthy: 2 } as const;

/**
 * Who serves receives, acks and changes of one cluster: whoever is there; ready before not ready, then healthy before
 * draining before unhealthy, then by priority. Undefined only for an empty cluster.
 */
export function homeEndpoint(endpoints: readonly Endpoint[]): Endpoint | undefined {
  let best: Endpoint | undefined;
  for (const endpoint of endpoints) if (best === undefined || homeOrder(endpoint, best) < 0) best = endpoint;
  return best;
}

function homeOrder(a: Endpoint, b: Endpoint): number {
  if (a.upstream.isReady !== b.upstream.isReady) return a.upstream.isReady ? -1 : 1;
  return receiveRank[a.health] - receiveRank[b.health] || a.priority - b.priority;
}
