import { Code } from "../../proto/code.ts";
import { defaultNamespace, printableName } from "../../proto/resource-name.ts";
import type { Refusal } from "./resource-name.ts";

/**
 * Which namespaces the applications behind a sidecar may use: those of `--namespace`, where that is given, else any. The first is
 * that of clients that name none.
 */
export class NamespaceBinding {
  /** Namespace of clients that name none. */
  readonly fallback: string;
  /** Undefined: every namespace is served. */
  readonly bound: ReadonlySet<string> | undefined;

  /** `setting` is a list with commas; "" for any. The names in it are checked already. */
  constructor(setting: string) {
    const names = namesIn(setting);
    this.fallback = names[0] ?? defaultNamespace;
    this.bound = names.length === 0 ? undefined : new Set(names);
  }

  /** Undefined when names of this namespace are served here. */
  refuse(namespace: string): Refusal | undefined {
    if (this.bound === undefined || this.bound.has(namespace)) return undefined;
    const served = [...this.bound].join(", ");
    return {
      code: Code.Forbidden,
      message: `namespace "${printableName(namespace)}" is not served by this sidecar, which is bound to ${served}; use the sidecar of that namespace`,
    };
  }
}

/** The names of a list with commas. */
export function namesIn(setting: string): readonly string[] {
  return setting
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}
