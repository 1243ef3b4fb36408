import { z } from "zod";
import { bucketCount, bucketsOf } from "../../proto/lane/lane-bucket.ts";
import { baseLane, laneNameProblem, laneRuleLimits } from "../../proto/lane/lane-rule.ts";
import { groupNameProblem, printableName, topicNameProblem } from "../../proto/resource-name.ts";
import { duration } from "./manifest-duration.ts";
import { type RolloutSaid, type RolloutSpec, rolloutDefaults, rolloutLimits } from "./rollout.ts";

const { stepsMax, pauseMsMax, windowMs, samplesMax } = rolloutLimits;

const named = (problemOf: (name: string) => string | undefined) =>
  z.string().superRefine((name, context) => {
    const problem = problemOf(name);
    if (problem !== undefined) context.addIssue({ code: "custom", message: `"${printableName(name)}" ${problem}` });
  });

const percent = z.number().superRefine((value, context) => {
  const buckets = (value * bucketCount) / 100;
  if (value > 0 && value <= 100 && Math.abs(buckets - bucketsOf(value)) < 1e-6) return;
  context.addIssue({ code: "custom", message: "must be from 0.01 to 100 in steps of 0.01" });
});

/** `{}` waits for a person, as Kubernetes' rollouts write it. */
const pause = z.union([z.strictObject({}).transform(() => "manual" as const), duration(0, pauseMsMax)], {
  error: 'must be a duration, such as "10m", or {} to wait for a person',
});

const steps = z
  .array(
    z.strictObject({ percent, pause: pause.optional() }).transform((step) => ({
      percent: step.percent,
      pauseMs: step.pause ?? 0,
    })),
  )
  .min(1, "holds no step")
  .max(stepsMax, `holds more than ${stepsMax} steps`)
  .transform((all, context) => {
    for (const [index, step] of all.entries()) {
      const before = all[index - 1];
      if (before === undefined || step.percent > before.percent) continue;
      const message = `must be more than the ${before.percent} of the step before: a rollout only raises the share`;
      context.addIssue({ code: "custom", path: [index, "percent"], message });
    }
    return all;
  });

const rate = z.number().min(0).max(100);
const times = z.number().min(1).max(1_000);
const noLimit = "holds no limit";
const rateGuard = z
  .strictObject({ max: rate.optional(), overBase: rate.optional() })
  .refine((guard) => Object.keys(guard).length > 0, `${noLimit}; give max, overBase or both, in percent`)
  .transform(({ max, overBase }) => ({
    ...(max === undefined ? {} : { max }),
    ...(overBase === undefined ? {} : { overBase }),
  }));
const timeGuard = z
  .strictObject({ max: duration(1, pauseMsMax).optional(), timesBase: times.optional() })
  .refine((guard) => Object.keys(guard).length > 0, `${noLimit}; give max, timesBase or both`)
  .transform(({ max, timesBase }) => ({
    ...(max === undefined ? {} : { maxMs: max }),
    ...(timesBase === undefined ? {} : { timesBase }),
  }));

const guards = z.strictObject({
  failureRate: rateGuard.optional(),
  deadLetterRate: rateGuard.optional(),
  lag: timeGuard.optional(),
  processingP99: timeGuard.optional(),
});

/** The spec of a Rollout as people write it; clauses are counted from 1. */
export const rolloutSpecSchema = z
  .strictObject({
    laneRule: named(topicNameProblem).optional(),
    topic: named(topicNameProblem).optional(),
    group: named(groupNameProblem).optional(),
    lane: named(laneNameProblem).optional(),
    clause: z.int().min(1).max(laneRuleLimits.clausesMax).optional(),
    steps,
    guards: guards.optional(),
    window: duration(windowMs.min, windowMs.max).optional(),
    samplesMin: z.int().min(1).max(samplesMax).optional(),
  })
  .transform((said, context): RolloutSaid => {
    const refuse = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
    if (said.laneRule === undefined && said.topic === undefined)
      refuse("laneRule", "is missing; or give topic, group and lane");
    if (said.laneRule !== undefined && said.topic !== undefined)
      refuse("topic", "has no place beside laneRule, which says it");
    if (said.laneRule !== undefined && said.group !== undefined)
      refuse("group", "has no place beside laneRule, which says it");
    if (said.laneRule === undefined && said.topic !== undefined && said.lane === undefined)
      refuse("lane", "is missing: which lane gets the share?");
    if (said.lane === baseLane) refuse("lane", "is the lane of everything that no rule sends elsewhere");
    return {
      rule:
        said.laneRule !== undefined ? { name: said.laneRule } : { topic: said.topic ?? "", group: said.group ?? "" },
      ...(said.lane === undefined ? {} : { lane: said.lane }),
      ...(said.clause === undefined ? {} : { clause: said.clause - 1 }),
      steps: said.steps,
      guards: JSON.parse(JSON.stringify(said.guards ?? {})) as RolloutSpec["guards"],
      windowMs: said.window ?? rolloutDefaults.windowMs,
      samplesMin: said.samplesMin ?? rolloutDefaults.samplesMin,
    };
  });
