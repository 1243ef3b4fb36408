const folderByKind: Readonly<Record<string, string>> = {
  topic: "topics",
  group: "groups",
  lanerule: "lanerules",
  ratelimit: "ratelimits",
  rollout: "rollouts",
};

/** Where the API has a resource of a kind as users write it ("topic"); undefined for a kind that has no names in namespaces. */
export function resourcePath(kind: string, namespace: string, name: string): string | undefined {
  const folder = Object.hasOwn(folderByKind, kind) ? folderByKind[kind] : undefined;
  if (folder === undefined) return undefined;
  return `/v1/namespaces/${encodeURIComponent(namespace)}/${folder}/${encodeURIComponent(name)}`;
}
