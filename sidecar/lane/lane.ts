/**
 * Lanes. A lane is a named variation of the environment; `base` is the default. The stage exists so that every message
 * carries a mark from its first day; rules that split consumers by it arrive with lane rules.
 */

/** The lane of everything that says nothing else. */
export const baseLane = "base";

/** The mark a sidecar stamps on a message it takes: for now its own instance's lane. */
export function laneMarkOf(instanceLane: string): string {
  return instanceLane;
}

/** The lane for which an instance pops: its own. */
export function receivingLaneOf(instanceLane: string): string {
  return instanceLane;
}

const laneNamePattern = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** Lane names are DNS labels: they become labels, metric values and file names elsewhere. */
export function isLaneName(name: string): boolean {
  return laneNamePattern.test(name);
}
