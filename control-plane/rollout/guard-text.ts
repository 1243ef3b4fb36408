import type { GuardName, GuardVerdict } from "../resource/rollout.ts";

const words: Readonly<Record<GuardName, { readonly what: string; readonly unit: "%" | "ms" }>> = {
  failureRate: { what: "failures", unit: "%" },
  deadLetterRate: { what: "dead letters", unit: "%" },
  lag: { what: "the lag", unit: "ms" },
  processingP99: { what: "the 99th percentile of processing", unit: "ms" },
};

/** A verdict as a sentence: which guard, which figures of lane and base, over which window. */
export function verdictText(verdict: GuardVerdict): string {
  const { guard, group, lane, base, limit, laneSamples, baseSamples, windowMs } = verdict;
  const { what, unit } = words[guard];
  const figure = (value: number | null) => (value === null ? "not known" : `${rounded(value)} ${unit}`);
  return (
    `${what} of group ${group} at ${figure(lane)} with a limit of ${figure(limit)}; base has ${figure(base)} ` +
    `(${laneSamples} and ${baseSamples} hand-outs in ${rounded(windowMs / 1_000)} s)`
  );
}

function rounded(value: number): string {
  return Number.isFinite(value) ? String(Math.round(value * 10) / 10) : "more than can be told";
}
