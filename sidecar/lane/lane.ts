import { baseLane, laneNameProblem } from "../../proto/lane/lane-rule.ts";

/**
 * Lanes. A lane is a named variation of the environment; `base` is the default. Every message carries the mark of a lane
 * (lane-marks.ts), every receive the lane of the instance.
 */
export { baseLane };

/** The lane for which an instance pops: its own, unless lanes are off. */
export function receivingLaneOf(instanceLane: string, areLanesOff: boolean): string {
  return areLanesOff ? baseLane : instanceLane;
}

/** Lane names become labels, metric values and parts of receipts elsewhere. */
export function isLaneName(name: string): boolean {
  return laneNameProblem(name) === undefined;
}
