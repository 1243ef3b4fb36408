/** The label whose value is the lane of a workload. */
export const laneLabel = "popmesh.io/lane";

/** What the labels of a workload say of its lane. */
export type LabelledLane = { readonly lane: string | undefined } | { readonly problem: string };

/**
 * Reads labels as deployments write them, "app=billing,popmesh.io/lane=canary": the lane they name, undefined without that label. Values
 * may be empty; of what is no label, or named twice, the problem is told.
 */
export function laneOfLabels(text: string): LabelledLane {
  const values = new Map<string, string>();
  for (const part of text.split(",").map((each) => each.trim())) {
    if (part === "") continue;
    const at = part.indexOf("=");
    if (at < 1) return { problem: `"${part}" is no label; write name=value, and commas between them` };
    const name = part.slice(0, at).trim();
    if (values.has(name)) return { problem: `label ${name} is there twice` };
    values.set(name, part.slice(at + 1).trim());
  }
  return { lane: values.get(laneLabel) };
}
