import type { LimitStanding } from "../limit/limit-shares.ts";
import { manifestApiVersion } from "../resource/manifest-version.ts";
import { limitScopeText, type RateLimitRecord, type RateLimitSpec } from "../resource/rate-limit.ts";
import { isoTime, type ResourceView, ratesView } from "./view.ts";

/** A limit as a manifest that can be applied again, and what each sidecar may be using of it. */
export function rateLimitView(limit: RateLimitRecord, shares: readonly LimitStanding[]): ResourceView {
  const { namespace, name, generation, createdMs, createdBy, changedMs, changedBy } = limit;
  return {
    apiVersion: manifestApiVersion,
    kind: "RateLimit",
    metadata: { namespace, name },
    spec: rateLimitSpecView(limit),
    status: {
      generation,
      scope: limitScopeText(namespace, limit),
      createdAt: isoTime(createdMs),
      createdBy,
      changedAt: isoTime(changedMs),
      changedBy,
      shares,
    },
  };
}

/** A spec as people write it. */
export function rateLimitSpecView(spec: RateLimitSpec): ResourceView["spec"] {
  const { topic, group, client, direction } = spec;
  return {
    ...(topic === "" ? {} : { topic }),
    ...(group === "" ? {} : { group }),
    ...(client === "" ? {} : { client }),
    direction,
    ...ratesView(spec),
  };
}
