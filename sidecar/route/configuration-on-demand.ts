import type { Code } from "../../proto/code.ts";
import type { GroupPolicy, TopicRoute } from "./topic-route.ts";

/** What a call that waited for configuration gets. */
export type Found<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly code: Code; readonly message: string };

/** Configuration that is fetched when it is first needed. Each calls back once, possibly before it returns. */
export interface ConfigurationOnDemand {
  topic(name: string, deadlineMs: number, done: (found: Found<TopicRoute>) => void): void;
  group(name: string, deadlineMs: number, done: (found: Found<GroupPolicy>) => void): void;
  broker(brokerName: string, deadlineMs: number, done: (found: Found<undefined>) => void): void;
}
