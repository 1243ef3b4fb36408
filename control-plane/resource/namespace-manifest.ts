import { z } from "zod";
import { mistakeWords } from "./manifest-mistake.ts";
import { sizeInBytes } from "./manifest-size.ts";
import { type NamespaceSpec, namespaceLimits } from "./namespace.ts";
import { defaultLimitSchema } from "./rate-limit-manifest.ts";

/** "none" takes away what was said before; anything else is read by `schema`, with its own words for what is wrong. */
const orNone = <T, N>(schema: z.ZodType<T>, none: N) =>
  z.unknown().transform((value, context): T | N => {
    if (value === "none") return none;
    const read = schema.safeParse(value, { error: mistakeWords });
    if (read.success) return read.data;
    for (const { path, message, ...issue } of read.error.issues) {
      if (issue.code === "unrecognized_keys") {
        context.issues.push({
          code: issue.code,
          keys: [...issue.keys],
          path: [...path],
          input: value as Record<string, unknown>,
        });
      } else context.addIssue({ code: "custom", path: [...path], message });
    }
    return z.NEVER;
  });

const { quotaMax } = namespaceLimits;
const quotaText = `must be a whole number from 1 to ${quotaMax}, or "none"`;
const quota = orNone(z.int(quotaText).min(1, quotaText).max(quotaMax, quotaText), 0);

const defaultLimit = orNone(defaultLimitSchema, null);

/** The spec of a Namespace as people write it. What is left out keeps its value. */
export const namespaceSpecSchema = z
  .strictObject({
    autoCreateTopics: z.boolean().optional(),
    autoCreateGroups: z.boolean().optional(),
    quotas: z.strictObject({ topics: quota.optional(), groups: quota.optional(), queues: quota.optional() }).optional(),
    maxMessageSize: z
      .unknown()
      .transform((value, context) => {
        const bytes = sizeInBytes(value);
        if (bytes !== undefined && bytes >= 1 && bytes <= namespaceLimits.maxMessageBytesMax) return bytes;
        context.addIssue({ code: "custom", message: 'must be a size from 1 byte to 4MiB, such as "256KiB"' });
        return z.NEVER;
      })
      .optional(),
    defaultLimits: z
      .strictObject({ topicSends: defaultLimit.optional(), groupReceives: defaultLimit.optional() })
      .optional(),
  })
  .transform(
    ({ autoCreateTopics, autoCreateGroups, quotas, maxMessageSize, defaultLimits }): Partial<NamespaceSpec> => {
      const { topics, groups, queues } = quotas ?? {};
      const { topicSends, groupReceives } = defaultLimits ?? {};
      return {
        ...(autoCreateTopics === undefined ? {} : { autoCreateTopics }),
        ...(autoCreateGroups === undefined ? {} : { autoCreateGroups }),
        ...(topics === undefined ? {} : { topicsMax: topics }),
        ...(groups === undefined ? {} : { groupsMax: groups }),
        ...(queues === undefined ? {} : { queuesMax: queues }),
        ...(maxMessageSize === undefined ? {} : { maxMessageBytes: maxMessageSize }),
        ...(topicSends === undefined ? {} : { topicSends }),
        ...(groupReceives === undefined ? {} : { groupReceives }),
      };
    },
  );
