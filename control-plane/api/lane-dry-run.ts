import { qualifiedName } from "../../proto/resource-name.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import { type BrokerDryRun, dryRunReport, dryRunText } from "../dry-run/dry-run.ts";
import type { BrokerOperator } from "../operation/broker-operator.ts";
import { fromAll } from "../operation/order-to-all.ts";
import { laneRuleOf } from "../resource/lane-rule.ts";
import type { Manifest } from "../resource/manifest.ts";

export type LaneRuleManifest = Extract<Manifest, { readonly kind: "LaneRule" }>;

/** A broker's own limit is 8 s of looking. */
const timeoutMs = 20_000;

/** Holds a rule against the messages since then, at every broker: `dryRun` with `text` for people, or `problem`. */
export async function laneDryRun(
  brokers: BrokerOperator,
  { namespace, spec }: LaneRuleManifest,
  sinceMs: number,
  sidecarLanes: readonly string[],
): Promise<object> {
  const order = {
    topic: qualifiedName(namespace, spec.topic),
    group: spec.group === "" ? "" : qualifiedName(namespace, spec.group),
    ...{ rule: laneRuleOf(spec, namespace), sinceMs },
  };
  try {
    const said = fromAll(await brokers.callAll<BrokerDryRun>("lane.dryRun", order, timeoutMs));
    const report = dryRunReport(said, sidecarLanes);
    return { dryRun: report, text: dryRunText(report) };
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
    return { problem: `It was not held against any message: ${error.message}` };
  }
}
