import { z } from "zod";
import { parseDurationMs } from "../../proto/runtime/settings.ts";

/** A duration of a manifest with its unit, "10s" or "5m", as milliseconds within [minMs, maxMs]. */
export const duration = (minMs: number, maxMs: number) =>
  z.unknown().transform((value, context) => {
    // A number without a unit would be read as milliseconds by some and as seconds by others.
    const ms = typeof value === "string" && /[a-z]$/.test(value.trim()) ? parseDurationMs(value) : undefined;
    if (ms !== undefined && ms >= minMs && ms <= maxMs) return ms;
    context.addIssue({
      code: "custom",
      message: `must be a duration from ${minMs / 1000}s to ${maxMs / 1000}s, such as "10s" or "5m"`,
    });
    return z.NEVER;
  });
