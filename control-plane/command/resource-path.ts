const folderByKind: Readonly<Record<string, string>> = {
  topic: "topics",
  group: "groups",
  lanerule: "lanerules",
  ratelimit: "ratelimits",
  rollout: "rollouts",
};

/** Where the API has a resource of a kind as users write it ("topic"); undefined for a kind that is looked at in other ways. */
export function resourcePath(kind: string, namespace: string, name: string): string | undefined {
  if (kind === "namespace") return `/v1/namespaces/${encodeURIComponent(name)}`;
  const folder = Object.hasOwn(folderByKind, kind) ? folderByKind[kind] : undefined;
  if (folder === undefined) return undefined;
  return `/v1/namespaces/${encodeURIComponent(namespace)}/${folder}/${encodeURIComponent(name)}`;
}
