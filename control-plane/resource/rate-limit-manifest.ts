import { z } from "zod";
import { groupNameProblem, printableName, topicNameProblem } from "../../proto/resource-name.ts";
import { duration } from "./manifest-duration.ts";
import { sizeInBytes } from "./manifest-size.ts";
import { burstMsDefault, limitDirections, type RateLimitSpec, rateLimitRanges } from "./rate-limit.ts";

const { messagesPerSecondMax, bytesPerSecondMax, burstMs, clientLengthMax } = rateLimitRanges;

const named = (problemOf: (name: string) => string | undefined) =>
  z.string().superRefine((name, context) => {
    const problem = problemOf(name);
    if (problem !== undefined) context.addIssue({ code: "custom", message: `"${printableName(name)}" ${problem}` });
  });

/** The ids that SDKs make: host, process and counters; any printable character is taken. */
const clientPattern = z
  .string()
  .min(1, "is empty; leave it out to mean every client")
  .max(clientLengthMax, `is longer than ${clientLengthMax} characters`)
  .regex(/^[\x21-\x7e]*$/, "has a blank or a character that is not ASCII, which no client id has");

/** A number of messages or bytes; texts with a unit where `hasUnits`. */
const rate = (max: number, hasUnits: boolean) =>
  z.unknown().transform((value, context) => {
    const number = typeof value === "number" ? value : hasUnits ? sizeInBytes(value) : undefined;
    const hint = number === 0 ? "; to stop sends to a topic, give it the state readOnly" : "";
    if (number !== undefined && Number.isFinite(number) && number > 0 && number <= max) return number;
    const examples = hasUnits ? 'a size up to 1024GiB, such as "512KiB" or "4MiB"' : `a number up to ${max}`;
    context.addIssue({ code: "custom", message: `must be ${examples}, and more than zero${hint}` });
    return z.NEVER;
  });

const rates = {
  messagesPerSecond: rate(messagesPerSecondMax, false).optional(),
  bytesPerSecond: rate(bytesPerSecondMax, true).optional(),
  burst: duration(burstMs.min, burstMs.max).optional(),
};

interface RatesSaid {
  readonly messagesPerSecond?: number | undefined;
  readonly bytesPerSecond?: number | undefined;
  readonly burst?: number | undefined;
}

/** Where mistakes are told; the part of zod's context that is needed. */
interface Mistakes {
  readonly issues: readonly unknown[];
  addIssue(issue: { readonly code: "custom"; readonly path?: string[]; readonly message: string }): void;
}

/** Puts in what was left out; refuses what limits nothing, and a burst that lets nothing through. */
function wholeRates({ messagesPerSecond = 0, bytesPerSecond = 0, burst = burstMsDefault }: RatesSaid, told: Mistakes) {
  if (told.issues.length === 0 && messagesPerSecond === 0 && bytesPerSecond === 0) {
    told.addIssue({ code: "custom", message: "limits nothing: say messagesPerSecond, bytesPerSecond, or both" });
  }
  if (messagesPerSecond > 0 && (messagesPerSecond * burst) / 1_000 < 1) {
    const leastMs = Math.ceil(1_000 / messagesPerSecond);
    const message = `holds less than one message: at ${messagesPerSecond} a second it must be ${leastMs}ms or longer`;
    told.addIssue({ code: "custom", path: ["burst"], message });
  }
  return { messagesPerSecond, bytesPerSecond, burstMs: burst };
}

/** The rates alone: a default limit of a namespace. */
export const defaultLimitSchema = z.strictObject(rates).transform((said, context) => wholeRates(said, context));

/** The spec of a RateLimit as people write it. */
export const rateLimitSpecSchema = z
  .strictObject({
    topic: named(topicNameProblem).optional(),
    group: named(groupNameProblem).optional(),
    client: clientPattern.optional(),
    direction: z.enum(limitDirections),
    ...rates,
  })
  .transform((said, context): RateLimitSpec => {
    const { topic = "", group = "", client = "", direction } = said;
    if (direction === "send" && group !== "") {
      const message = "contradicts direction: send: a send names no group; take direction: receive, or leave it out";
      context.addIssue({ code: "custom", path: ["group"], message });
    }
    return { topic, group, client, direction, ...wholeRates(said, context) };
  });
