import { popmesh } from "#codec/popmesh-v1";
import { envoy } from "#codec/xds-v3";
import type { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { TypeUrl } from "../../sidecar/xds/resource-type.ts";

/** A manifest that must not be applied, and what is wrong with it. */
export interface BadManifest {
  readonly what: string;
  readonly text: string;
}

/** A resource that a sidecar must refuse, and what is wrong with it. */
export interface BadResource {
  readonly what: string;
  readonly typeUrl: string;
  readonly name: string;
  readonly bytes: Uint8Array;
}

type Spoil = (randomness: SeededRandomness) => string;

function pick<T>(randomness: SeededRandomness, from: readonly T[]): T {
  return from[Math.floor(randomness.fraction() * from.length)] as T;
}

const document = (kind: string, spec: string, name = "bad", apiVersion = "popmesh.io/v1") =>
  `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: { name: ${JSON.stringify(name)} }\nspec: ${spec}\n`;

const kinds = ["Topic", "ConsumerGroup", "Namespace"] as const;
const rules = (text: string, topic = "good") => document("LaneRule", `{ topic: ${topic}, rules: ${text} }`);

/** Ways to write a manifest wrongly, over all kinds. */
const manifests: Readonly<Record<string, Spoil>> = {
  "is no YAML": (r) => `${document(pick(r, kinds), "{}")}  : [ : \n`,
  "is cut off": (r) => document(pick(r, kinds), "{ ").slice(0, -1),
  "is empty": () => "---\n",
  "is a text": (r) => JSON.stringify("x".repeat(1 + Math.floor(r.fraction() * 50))),
  "has a key twice": (r) => `${document(pick(r, kinds), "{}")}kind: Topic\n`,
  "uses an alias": () => "apiVersion: &a popmesh.io/v1\nkind: Topic\nmetadata: { name: *a }\n",
  "has another apiVersion": (r) => document(pick(r, kinds), "{}", "bad", pick(r, ["v1", "popmesh.io/v9", "''", "1"])),
  "has no kind that there is": (r) => document(pick(r, ["topic", "Topics", "Broker", "''", "7", "__proto__"]), "{}"),
  "has no metadata": (r) => `apiVersion: popmesh.io/v1\nkind: ${pick(r, kinds)}\n`,
  "has no name": (r) => `apiVersion: popmesh.io/v1\nkind: ${pick(r, kinds)}\nmetadata: {}\n`,
  "has a name that cannot be": (r) =>
    document(pick(r, kinds), "{}", pick(r, ["", "a b", "a/b", "ä", "\u0000", "x".repeat(300), "../etc", "*"])),
  "has an unknown field": (r) => document(pick(r, kinds), `{ ${pick(r, ["queue", "__proto__x", "fifo", "ttl"])}: 1 }`),
  "has an unknown field at its root": (r) => `${document(pick(r, kinds), "{}")}labels: {}\n`,
  "has a spec that is none": (r) => document(pick(r, kinds), pick(r, ["[]", "7", "text", "[{}]"])),
  "topic: type": (r) => document("Topic", `{ type: ${pick(r, ["queue", "FIFO", "7", "[fifo]", "null"])} }`),
  "topic: queues": (r) =>
    document("Topic", `{ queues: ${pick(r, ["0", "-1", "1.5", "'8'", "99999999", ".inf", ".nan", "true"])} }`),
  "topic: state": (r) => document("Topic", `{ state: ${pick(r, ["off", "deleted", "1"])} }`),
  "group: attempts": (r) => document("ConsumerGroup", `{ attemptsMax: ${pick(r, ["0", "-3", "1e9", "2.5", "many"])} }`),
  "group: backoff": (r) =>
    document(
      "ConsumerGroup",
      `{ backoff: ${pick(r, ["{}", "[]", "{ list: [] }", "{ list: [soon] }", "{ list: [1s], exponential: { initial: 1s, max: 2s, multiplier: 2 } }", "{ exponential: { initial: 9s, max: 1s, multiplier: 2 } }", "{ exponential: { initial: 1s, max: 9s, multiplier: -2 } }"])} }`,
    ),
  "group: long polling": (r) =>
    document("ConsumerGroup", `{ longPolling: ${pick(r, ["-1s", "forever", "9999h", "5", "1 s s"])} }`),
  "group: delivery": (r) => document("ConsumerGroup", `{ deliveryMode: ${pick(r, ["all", "multicast", "0"])} }`),
  "namespace: policy": (r) => document("Namespace", `{ autoCreateTopics: ${pick(r, ["1", "'on'", "yes!", "[]"])} }`),
  "lane rule: no clauses": (r) => rules(pick(r, ["[]", "{}", "none", "7"])),
  "lane rule: no such lane": (r) =>
    rules(`[{ to: ${JSON.stringify(pick(r, ["", "a b", "ä", "x".repeat(200), "a/b"]))}, percent: 5 }]`),
  "lane rule: percent": (r) => rules(`[{ to: canary, percent: ${pick(r, ["-1", "101", "100.5", "0.001", "half"])} }]`),
  "lane rule: sql": (r) =>
    rules(`[{ to: canary, when: { sql: ${pick(r, ["'a ='", "'('", "'a BETWEEN 1'", "'x IN ()'"])} } }]`),
  "lane rule: property": (r) =>
    rules(`[{ to: canary, when: { properties: ${pick(r, ["{}", "{ a: 7 }", "{ '': x }", "{ a: true }"])} } }]`),
  "lane rule: condition": (r) => rules(`[{ to: canary, when: ${pick(r, ["{}", "{ user: 4 }", "[]"])} }]`),
  "lane rule: shadowed": () => rules("[{ to: canary }, { to: other, percent: 5 }]"),
  "lane rule: when empty": (r) =>
    document(
      "LaneRule",
      `{ topic: good, rules: [{ to: canary, percent: 5 }], whenEmpty: ${pick(r, ["{ action: hold, after: 5s }", "{ action: drop }", "{ action: spill, after: soon }"])} }`,
    ),
  "one bad among good ones": (r) =>
    `${document("Topic", "{}", "innocent")}---\n${document("Topic", `{ queues: ${pick(r, ["-1", "x"])} }`)}`,
};

/** `count` bad manifests; every way at least once when there are enough. */
export function badManifests(randomness: SeededRandomness, count: number): BadManifest[] {
  const ways = Object.entries(manifests);
  return Array.from({ length: count }, (_, i) => {
    const [what, spoil] = ways[i % ways.length] as [string, Spoil];
    return { what, text: spoil(randomness) };
  });
}

const { TopicRoute, ConsumerGroupPolicy, NamespacePolicy } = popmesh.v1;
const { Cluster } = envoy.config.cluster.v3;
const { ClusterLoadAssignment } = envoy.config.endpoint.v3;

/** The names that the resources are about: they must exist and be of interest to the sidecar. */
export const spoiled = { topic: "default/good", group: "default/good", namespace: "default", cluster: "bg/broker-a" };

/** A field of a length that goes beyond the end: no decoder can take it. */
const torn = Buffer.from([0x0a, 0x7f]);

const ofType: Readonly<Record<string, { readonly typeUrl: string; readonly name: string }>> = {
  topic: { typeUrl: TypeUrl.TopicRoute, name: spoiled.topic },
  group: { typeUrl: TypeUrl.ConsumerGroupPolicy, name: spoiled.group },
  namespace: { typeUrl: TypeUrl.NamespacePolicy, name: spoiled.namespace },
  cluster: { typeUrl: TypeUrl.Cluster, name: spoiled.cluster },
  endpoints: { typeUrl: TypeUrl.ClusterLoadAssignment, name: spoiled.cluster },
};

const segment = { cluster: spoiled.cluster, queueCount: 1, readable: true, writable: true };
const strange = (r: SeededRandomness) => pick(r, ["", "default/other", "DEFAULT/GOOD", "bg/broker-b", "x".repeat(500)]);

const resources: readonly [type: keyof typeof ofType, what: string, (r: SeededRandomness) => Uint8Array][] = [
  ["topic", "torn", () => torn],
  ["group", "torn", () => torn],
  ["namespace", "torn", () => torn],
  ["cluster", "torn", () => torn],
  ["endpoints", "torn", () => torn],
  ["topic", "noise", (r) => noise(r)],
  ["endpoints", "noise", (r) => noise(r)],
  ["topic", "another name", (r) => TopicRoute.encode({ name: strange(r), state: 1, segment: [segment] }).finish()],
  ["group", "another name", (r) => ConsumerGroupPolicy.encode({ name: strange(r) }).finish()],
  ["namespace", "another name", (r) => NamespacePolicy.encode({ name: strange(r) }).finish()],
  ["cluster", "another name", (r) => Cluster.encode({ name: strange(r), type: 3 }).finish()],
  ["endpoints", "another name", (r) => ClusterLoadAssignment.encode({ clusterName: strange(r) }).finish()],
  ["topic", "empty", () => new Uint8Array()],
  ["cluster", "empty", () => new Uint8Array()],
  ["topic", "no segments", () => TopicRoute.encode({ name: spoiled.topic, state: 1 }).finish()],
  [
    "topic",
    "a segment nowhere",
    (r) => {
      const cluster = pick(r, ["", "bg/", "broker-a", "BG/broker-a", "/"]);
      return TopicRoute.encode({ name: spoiled.topic, state: 1, segment: [{ ...segment, cluster }] }).finish();
    },
  ],
  [
    "topic",
    "a required feature",
    (r) =>
      TopicRoute.encode({
        ...{ name: spoiled.topic, state: 1, segment: [segment] },
        requiredFeatures: [pick(r, ["teleport", "", "Broadcast"])],
      }).finish(),
  ],
  [
    "group",
    "a required feature",
    (r) =>
      ConsumerGroupPolicy.encode({ name: spoiled.group, requiredFeatures: [pick(r, ["exactly-once", " "])] }).finish(),
  ],
  [
    "cluster",
    "another discovery",
    (r) => Cluster.encode({ name: spoiled.cluster, type: pick(r, [0, 1, 2, 4]) }).finish(),
  ],
  [
    "cluster",
    "endpoints elsewhere",
    () =>
      Cluster.encode({ name: spoiled.cluster, type: 3, edsClusterConfig: { serviceName: "bg/elsewhere" } }).finish(),
  ],
];

/** Random bytes behind a torn field, so that nothing in them can make them whole. */
function noise(randomness: SeededRandomness): Uint8Array {
  const bytes = Array.from({ length: Math.floor(randomness.fraction() * 100) }, () =>
    Math.floor(randomness.fraction() * 256),
  );
  return Buffer.from([0x0a, 0xff, 0x7f, ...bytes]);
}

export function badResources(randomness: SeededRandomness, count: number): BadResource[] {
  return Array.from({ length: count }, (_, i) => {
    const [type, what, spoil] = resources[i % resources.length] as (typeof resources)[number];
    const { typeUrl, name } = ofType[type] as (typeof ofType)[string];
    return { what: `${String(type)}: ${what}`, typeUrl, name, bytes: spoil(randomness) };
  });
}
