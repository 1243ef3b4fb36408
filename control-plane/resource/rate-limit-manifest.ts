import { z } from "zod";
import { groupNameProblem, printableName, topicNameProblem } from "../../proto/resource-name.ts";
import { duration } from "./manifest-duration.ts";
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

const byteUnits: Readonly<Record<string, number>> = { "": 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** A number of messages or bytes; texts with a unit where `hasUnits`. */
const rate = (max: number, hasUnits: boolean) =>
  z.unknown().transform((value, context) => {
    const number = typeof value === "number" ? value : hasUnits ? bytesOf(value) : undefined;
    const hint = number === 0 ? "; to stop sends to a topic, give it the state readOnly" : "";
    if (number !== undefined && Number.isFinite(number) && number > 0 && number <= max) return number;
    const examples = hasUnits ? 'a size up to 1024GiB, such as "512KiB" or "4MiB"' : `a number up to ${max}`;
    context.addIssue({ code: "custom", message: `must be ${examples}, and more than zero${hint}` });
    return z.NEVER;
  });

function bytesOf(value: unknown): number | undefined {
  const [, count, unit] = (typeof value === "string" && /^(\d{1,12})(KiB|MiB|GiB|)$/.exec(value.trim())) || [];
  return count === undefined ? undefined : Number(count) * (byteUnits[unit ?? ""] ?? 1);
}

/** The spec of a RateLimit as people write it. */
export const rateLimitSpecSchema = z
  .strictObject({
    topic: named(topicNameProblem).optional(),
    group: named(groupNameProblem).optional(),
    client: clientPattern.optional(),
    direction: z.enum(limitDirections),
    messagesPerSecond: rate(messagesPerSecondMax, false).optional(),
    bytesPerSecond: rate(bytesPerSecondMax, true).optional(),
    burst: duration(burstMs.min, burstMs.max).optional(),
  })
  .transform((said, context): RateLimitSpec => {
    const { topic = "", group = "", client = "", direction } = said;
    const { messagesPerSecond = 0, bytesPerSecond = 0, burst = burstMsDefault } = said;
    const refuse = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
    if (direction === "send" && group !== "") {
      refuse("group", "contradicts direction: send: a send names no group; take direction: receive, or leave it out");
    }
    if (context.issues.length === 0 && messagesPerSecond === 0 && bytesPerSecond === 0) {
      const message = "limits nothing: say messagesPerSecond, bytesPerSecond, or both";
      context.addIssue({ code: "custom", message });
    }
    const atOnce = (messagesPerSecond * burst) / 1_000;
    if (messagesPerSecond > 0 && atOnce < 1) {
      const leastMs = Math.ceil(1_000 / messagesPerSecond);
      refuse(
        "burst",
        `holds less than one message: at ${messagesPerSecond} a second it must be ${leastMs}ms or longer`,
      );
    }
    return { topic, group, client, direction, messagesPerSecond, bytesPerSecond, burstMs: burst };
  });
