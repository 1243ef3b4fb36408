import { qualifiedName } from "../../proto/resource-name.ts";
import type { AdminRequest } from "../../proto/runtime/admin-server.ts";

/** Key of the resource that a path names. */
export function keyOf(parameters: Readonly<Record<string, string>>): string {
  return qualifiedName(parameters["namespace"] ?? "", parameters["name"] ?? "");
}

/** Records in the order of their keys. */
export function sorted<R>(table: ReadonlyMap<string, R>): R[] {
  return [...table].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, record]) => record);
}

/** Records of one namespace, in the order of their keys. */
export function ofNamespace<R extends { readonly namespace: string }>(
  table: ReadonlyMap<string, R>,
  namespace = "",
): R[] {
  return sorted(table).filter((record) => record.namespace === namespace);
}

/** For the audit trail; what a client says of itself, shortened. */
export function askedBy(request: AdminRequest): string {
  return `http:${(request.header("x-popmesh-client") ?? "").slice(0, 64)}`;
}
