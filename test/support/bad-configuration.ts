import { popmesh } from "#codec/popmesh-v1";
import { envoy } from "#codec/xds-v3";
import type { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { TypeUrl } from "../../sidecar/xds/resource-type.ts";

/** A manifest that must not be applied, what is wrong with it, and how that must be told. */
export interface BadManifest {
  readonly what: string;
  readonly text: string;
  /** The field that a refusal must name; "" for the document. */
  readonly at: string;
  /** What to do, in its words. */
  readonly says: RegExp;
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

const kinds = ["Topic", "ConsumerGroup", "Namespace", "LaneRule", "RateLimit", "Rollout"] as const;
const rules = (text: string, topic = "good") => document("LaneRule", `{ topic: ${topic}, rules: ${text} }`);
/** A rate limit that would be good but for what stands in it. */
const limit = (text: string) => document("RateLimit", `{ direction: send, ${text} }`);
/** A rollout that would be good but for what stands in it. */
const rollout = (text: string, steps = "[{ percent: 1, pause: 10m }, { percent: 100 }]") =>
  document("Rollout", `{ steps: ${steps}, ${text} }`);
const ofRule = "laneRule: good-canary";

/** What is there before: that which manifests may contradict. */
export const groundManifests = [
  document("Topic", "{ queues: 8 }", "good"),
  rules("[{ to: canary, percent: 5 }, { to: blue, when: { lane: blue } }]").replace('"bad"', '"good-canary"'),
  document("Namespace", "{ quotas: { topics: 1 } }", "full"),
  document("Topic", "{}", "only").replace('name: "only"', "name: only, namespace: full"),
].join("---\n");

type BadWay = readonly [at: string, says: RegExp, write: Spoil];

/** Ways to write a manifest wrongly, over all kinds. */
const manifests: Readonly<Record<string, BadWay>> = {
  "is no YAML": ["", /must be/, (r) => `${document(pick(r, kinds), "{}")}  : [ : \n`],
  "is cut off": ["", /must be .*end with a }/, (r) => document(pick(r, kinds), "{ ").slice(0, -1)],
  "is empty": ["", /holds no document/, () => "---\n"],
  "is a text": ["", /must be a group of fields/, (r) => JSON.stringify("x".repeat(1 + Math.floor(r.fraction() * 50)))],
  "has a key twice": ["", /keys must be unique/, (r) => `${document(pick(r, kinds), "{}")}kind: Topic\n`],
  "uses an alias": [
    "",
    /uses an alias .*, which manifests may not/,
    () => "apiVersion: &a popmesh.io/v1\nkind: Topic\nmetadata: { name: *a }\n",
  ],
  "has another apiVersion": [
    "apiVersion",
    /must be "popmesh.io\/v1"/,
    (r) => document(pick(r, kinds), "{}", "bad", pick(r, ["v1", "popmesh.io/v9", "''", "1"])),
  ],
  "has no kind that there is": [
    "kind",
    /must be one of Topic, ConsumerGroup, Namespace, LaneRule, RateLimit, Rollout/,
    (r) => document(pick(r, ["topic", "Topics", "Broker", "''", "7", "__proto__"]), "{}"),
  ],
  "has no metadata": ["metadata", /is missing/, (r) => `apiVersion: popmesh.io/v1\nkind: ${pick(r, kinds)}\n`],
  "has no name": [
    "metadata.name",
    /is missing; it must be a text/,
    (r) => `apiVersion: popmesh.io/v1\nkind: ${pick(r, kinds)}\nmetadata: {}\n`,
  ],
  "has a name that cannot be": [
    "metadata.name",
    /is blank|other than letters|longer than \d+/,
    (r) => document(pick(r, kinds), "{}", pick(r, ["", "a b", "a/b", "ä", "\u0000", "x".repeat(300), "../etc", "*"])),
  ],
  "has an unknown field": [
    "spec.colour",
    /is no field of spec; leave it out, or take one of /,
    (r) => document(pick(r, kinds), `{ colour: ${pick(r, ["1", "red", "[]", "{}", "null"])} }`),
  ],
  "has an unknown field that means something elsewhere": [
    "spec.fifo",
    /said by the topic alone, with type: fifo/,
    (r) => document(pick(r, kinds), "{ fifo: true }"),
  ],
  "has a field that is nearly one": [
    "spec.queue",
    /did you mean "queues"/,
    (r) => document("Topic", `{ queue: ${pick(r, ["1", "8"])} }`),
  ],
  "has an unknown field at its root": [
    "labels",
    /is no field of a manifest; leave it out/,
    (r) => `${document(pick(r, kinds), "{}")}labels: {}\n`,
  ],
  "has a spec that is none": [
    "spec",
    /must be a group of fields/,
    (r) => document(pick(r, kinds), pick(r, ["[]", "7", "text", "[{}]"])),
  ],
  "topic: type": [
    "spec.type",
    /must be one of normal, fifo/,
    (r) => document("Topic", `{ type: ${pick(r, ["queue", "FIFO", "7", "[fifo]", "null"])} }`),
  ],
  "topic: queues": [
    "spec.queues",
    /must be (1 or more|1024 or less|a (whole )?number)/,
    (r) => document("Topic", `{ queues: ${pick(r, ["0", "-1", "1.5", "'8'", "99999999", ".inf", ".nan", "true"])} }`),
  ],
  "topic: state": [
    "spec.state",
    /must be one of active, readOnly, draining/,
    (r) => document("Topic", `{ state: ${pick(r, ["off", "deleted", "1"])} }`),
  ],
  "topic: another type than it has": [
    "spec.type",
    /cannot become .*use another topic/,
    (r) => document("Topic", `{ type: ${pick(r, ["fifo", "delay", "mixed"])} }`, "good"),
  ],
  "topic: fewer queues than it has": [
    "spec.queues",
    /cannot shrink from 8 to \d: the queues may still hold messages/,
    (r) => document("Topic", `{ queues: ${pick(r, ["1", "7"])} }`, "good"),
  ],
  "group: attempts": [
    "spec.attemptsMax",
    /must be (1 or more|1000 or less|a (whole )?number)/,
    (r) => document("ConsumerGroup", `{ attemptsMax: ${pick(r, ["0", "-3", "1e9", "2.5", "many"])} }`),
  ],
  "group: backoff": [
    "spec.backoff",
    /must (have either list, .*, or exponential|be a group of fields|have 1 or more|be a duration|be 1 or more|not be longer than max)/,
    (r) =>
      document(
        "ConsumerGroup",
        `{ backoff: ${pick(r, ["{}", "[]", "{ list: [] }", "{ list: [soon] }", "{ list: [1s], exponential: { initial: 1s, max: 2s, multiplier: 2 } }", "{ exponential: { initial: 9s, max: 1s, multiplier: 2 } }", "{ exponential: { initial: 1s, max: 9s, multiplier: -2 } }"])} }`,
      ),
  ],
  "group: long polling": [
    "spec.longPolling",
    /must be a duration from 1s to 60s/,
    (r) => document("ConsumerGroup", `{ longPolling: ${pick(r, ["-1s", "forever", "9999h", "5", "1 s s"])} }`),
  ],
  "group: delivery": [
    "spec.deliveryMode",
    /must be one of shared, broadcast/,
    (r) => document("ConsumerGroup", `{ deliveryMode: ${pick(r, ["all", "multicast", "0"])} }`),
  ],
  "namespace: policy": [
    "spec.autoCreateTopics",
    /must be true or false/,
    (r) => document("Namespace", `{ autoCreateTopics: ${pick(r, ["1", "'on'", "yes!", "[]"])} }`),
  ],
  "namespace: quota": [
    "spec.quotas.groups",
    /must be a whole number from 1 to 1000000, or "none"/,
    (r) => document("Namespace", `{ quotas: { groups: ${pick(r, ["0", "-1", "1.5", "'7'", "no", "1e9", "[]"])} } }`),
  ],
  "namespace: no such quota": [
    "spec.quotas.brokers",
    /is no field of spec.quotas; leave it out, or take one of topics, groups, queues/,
    () => document("Namespace", "{ quotas: { brokers: 3 } }"),
  ],
  "namespace: message size": [
    "spec.maxMessageSize",
    /must be a size from 1 byte to 4MiB, such as "256KiB"/,
    (r) => document("Namespace", `{ maxMessageSize: ${pick(r, ["0", "8MiB", "-1", "1.5", "1KB", "big", "[]"])} }`),
  ],
  "namespace: default limit": [
    "spec.defaultLimits.topicSends",
    /say messagesPerSecond, bytesPerSecond, or both|must be a (group of fields|number up to)/,
    (r) =>
      document(
        "Namespace",
        `{ defaultLimits: { topicSends: ${pick(r, ["{}", "off", "5", "[]", "{ burst: 2s }", "{ messagesPerSecond: -1 }"])} } }`,
      ),
  ],
  "namespace: a field that a default limit has not": [
    "spec.defaultLimits.groupReceives.rate",
    /is no field of spec.defaultLimits.groupReceives; leave it out/,
    () => document("Namespace", "{ defaultLimits: { groupReceives: { rate: 5, messagesPerSecond: 5 } } }"),
  ],
  "namespace: default limits with a long name": [
    "spec.defaultLimits",
    /with default limits it may have 120/,
    (r) =>
      document(
        "Namespace",
        "{ defaultLimits: { topicSends: { messagesPerSecond: 5 } } }",
        "n".repeat(pick(r, [121, 127])),
      ),
  ],
  "namespace: over its quota": [
    "metadata.name",
    /over the quota of namespace "full", which holds 1 of 1 topics; delete some, or raise spec.quotas.topics/,
    () => document("Topic", "{}", "more").replace('name: "more"', "name: more, namespace: full"),
  ],
  "lane rule: no clauses": [
    "spec.rules",
    /must be a list|to have no rule any more, delete it/,
    (r) => rules(pick(r, ["[]", "{}", "none", "7"])),
  ],
  "lane rule: no such lane": [
    "spec.rules.0.to",
    /is empty|may hold small letters|longer than 63/,
    (r) => rules(`[{ to: ${JSON.stringify(pick(r, ["", "a b", "ä", "x".repeat(200), "a/b"]))}, percent: 5 }]`),
  ],
  "lane rule: percent": [
    "spec.rules.0.percent",
    /must be (from 0 to 100 in steps of 0.01|a number)/,
    (r) => rules(`[{ to: canary, percent: ${pick(r, ["-1", "101", "100.5", "0.001", "half"])} }]`),
  ],
  "lane rule: sql": [
    "spec.rules.0.when.sql",
    /the SQL92 filter is refused: at character \d+: found .*, expected /,
    (r) => rules(`[{ to: canary, when: { sql: ${pick(r, ["'a ='", "'('", "'a BETWEEN 1'", "'x IN ()'"])} } }]`),
  ],
  "lane rule: property": [
    "spec.rules.0.when.properties",
    /holds no property|a property has no name|must be a text, .*; write "/,
    (r) => rules(`[{ to: canary, when: { properties: ${pick(r, ["{}", "{ a: 7 }", "{ '': x }", "{ a: true }"])} } }]`),
  ],
  "lane rule: condition": [
    "spec.rules.0.when",
    /leave it out|must be a group of fields/,
    (r) => rules(`[{ to: canary, when: ${pick(r, ["{}", "{ user: 4 }", "[]"])} }]`),
  ],
  "lane rule: shadowed": [
    "spec.rules.1",
    /is never reached: .*; move it before that one, or leave it out/,
    () => rules("[{ to: canary }, { to: other, percent: 5 }]"),
  ],
  "lane rule: when empty": [
    "spec.whenEmpty",
    /has no meaning with action: hold|must be (one of spill, hold|a duration)/,
    (r) =>
      document(
        "LaneRule",
        `{ topic: good, rules: [{ to: canary, percent: 5 }], whenEmpty: ${pick(r, ["{ action: hold, after: 5s }", "{ action: drop }", "{ action: spill, after: soon }"])} }`,
      ),
  ],
  "lane rule: a second one for its topic": [
    "spec.topic",
    /for which LaneRule default\/good-canary decides already; change that one, or delete it first/,
    (r) => rules(`[{ to: canary, percent: ${pick(r, ["1", "2"])} }]`),
  ],
  "lane rule: another topic than it has": [
    "spec.topic",
    /cannot become one for topic "other".*; use another name, or delete it first/,
    () => rules("[{ to: canary, percent: 5 }]", "other").replace('"bad"', '"good-canary"'),
  ],
  "rate limit: direction": [
    "spec.direction",
    /must be one of send, receive/,
    (r) => document("RateLimit", `{ ${pick(r, ["", "direction: both,", "direction: 1,"])} messagesPerSecond: 5 }`),
  ],
  "rate limit: messages": [
    "spec.messagesPerSecond",
    /must be a number up to 100000000, and more than zero/,
    (r) => limit(`messagesPerSecond: ${pick(r, ["0", "-5", "'5'", "1e12", ".inf", ".nan", "many", "5/s"])}`),
  ],
  "rate limit: bytes": [
    "spec.bytesPerSecond",
    /must be a size up to 1024GiB, such as "512KiB" or "4MiB", and more than zero/,
    (r) => limit(`bytesPerSecond: ${pick(r, ["0", "-5", "4MB", "9999GiB", ".nan", "1KiB/s"])}`),
  ],
  "rate limit: of nothing": [
    "spec",
    /limits nothing: say messagesPerSecond, bytesPerSecond, or both/,
    (r) => limit(pick(r, ["", "burst: 5s", "client: 'a*'"])),
  ],
  "rate limit: burst": [
    "spec.burst",
    /must be (a duration from 0.1s to 3600s|10000ms or longer)/,
    (r) => limit(`messagesPerSecond: 0.1, burst: ${pick(r, ["1s", "0s", "2h", "5", "soon", "9s"])}`),
  ],
  "rate limit: group of a send": [
    "spec.group",
    /a send names no group; take direction: receive, or leave it out/,
    () => limit("group: billing, messagesPerSecond: 5"),
  ],
  "rate limit: what it is for": [
    "spec.topic",
    /is blank|other than letters|is reserved by the system|longer than 127/,
    (r) =>
      limit(`messagesPerSecond: 5, topic: ${JSON.stringify(pick(r, ["", "a b", "a/b", "TBW102", "x".repeat(200)]))}`),
  ],
  "rate limit: client": [
    "spec.client",
    /leave it out to mean every client|not ASCII, which no client id has|longer than 255/,
    (r) => limit(`messagesPerSecond: 5, client: ${JSON.stringify(pick(r, ["", "a b", "ä", "x".repeat(256)]))}`),
  ],
  "rollout: of no rule": [
    "spec.laneRule",
    /is missing; or give topic, group and lane/,
    (r) => rollout(pick(r, ["lane: canary", "group: billing, lane: canary", "window: 1m"])),
  ],
  "rollout: rule that is not there": [
    "spec.laneRule",
    /is of LaneRule default\/\w+, which does not exist; apply it first, or in the same file before/,
    (r) => rollout(`laneRule: ${pick(r, ["none", "good"])}`),
  ],
  "rollout: what the rule says itself": [
    "spec.topic",
    /has no place beside laneRule, which says it/,
    () => rollout(`${ofRule}, topic: good`),
  ],
  "rollout: no lane": [
    "spec.lane",
    /is missing: which lane gets the share|is the lane of everything that no rule sends elsewhere/,
    (r) => rollout(`topic: good${pick(r, ["", ", lane: base"])}`),
  ],
  "rollout: lane or clause that the rule has not": [
    "spec.clause",
    /which (has no clause( with a percent to lane "green"| 7)|does not send to lane "canary" with clause 2)/,
    (r) => rollout(`${ofRule}, ${pick(r, ["lane: green", "clause: 7", "clause: 2, lane: canary"])}`),
  ],
  "rollout: steps": [
    "spec.steps",
    /holds no step|holds more than 50 steps|must be (a list|more than the \d+ of the step before)|is missing/,
    (r) =>
      pick(r, [
        document("Rollout", `{ ${ofRule} }`),
        ...["[]", "5", "[{ percent: 5 }, { percent: 5 }]", "[{ percent: 50 }, { percent: 10 }]"].map((steps) =>
          rollout(ofRule, steps),
        ),
        rollout(ofRule, `[${Array.from({ length: 51 }, (_, i) => `{ percent: ${i + 1} }`).join(", ")}]`),
      ]),
  ],
  "rollout: percent": [
    "spec.steps.0.percent",
    /must be (from 0.01 to 100 in steps of 0.01|a number)|is missing; it must be a number/,
    (r) =>
      rollout(
        ofRule,
        pick(r, ["[{ percent: 0 }]", "[{ percent: 101 }]", "[{ percent: 0.005 }]", "[{}]", "[{ percent: '5' }]"]),
      ),
  ],
  "rollout: pause": [
    "spec.steps.0.pause",
    /must be a duration, such as "10m", or {} to wait for a person|is no field of spec.steps.0.pause; leave it out/,
    (r) => rollout(ofRule, `[{ percent: 5, pause: ${pick(r, ["5", "soon", "-1s", "99d", "{ until: noon }", "[]"])} }]`),
  ],
  "rollout: guard without a limit": [
    "spec.guards",
    /holds no limit; give max, (overBase|timesBase) or both/,
    (r) => rollout(`${ofRule}, guards: { ${pick(r, ["failureRate", "deadLetterRate", "lag", "processingP99"])}: {} }`),
  ],
  "rollout: guard": [
    "spec.guards.failureRate",
    /must be (0 or more|100 or less|a number|a group of fields)|leave it out, or take one of max, overBase/,
    (r) =>
      rollout(
        `${ofRule}, guards: { failureRate: ${pick(r, ["{ max: -1 }", "{ max: 101 }", "{ max: 5% }", "5", "{ timesBase: 2, max: 1 }"])} }`,
      ),
  ],
  "rollout: no such guard": [
    "spec.guards.errors",
    /is no field of spec.guards; leave it out, or take one of failureRate, deadLetterRate, lag, processingP99/,
    () => rollout(`${ofRule}, guards: { errors: { max: 5 } }`),
  ],
  "rollout: window": [
    "spec.window",
    /must be a duration from 1s to 3600s/,
    (r) => rollout(`${ofRule}, window: ${pick(r, ["0s", "2h", "60", "a while"])}`),
  ],
  "rollout: samples": [
    "spec.samplesMin",
    /must be (1 or more|1000000 or less|a (whole )?number)/,
    (r) => rollout(`${ofRule}, samplesMin: ${pick(r, ["0", "-1", "2.5", "1e7", "few"])}`),
  ],
  "one bad among good ones": [
    "spec.queues",
    /must be/,
    (r) => `${document("Topic", "{}", "innocent")}---\n${document("Topic", `{ queues: ${pick(r, ["-1", "x"])} }`)}`,
  ],
  "one that contradicts among good ones": [
    "spec.laneRule",
    /apply it first/,
    () => `${limit("messagesPerSecond: 5").replace('"bad"', '"innocent"')}---\n${rollout("laneRule: none")}`,
  ],
};

/** `count` bad manifests; every way at least once when there are enough. */
export function badManifests(randomness: SeededRandomness, count: number): BadManifest[] {
  const ways = Object.entries(manifests);
  return Array.from({ length: count }, (_, i) => {
    const [what, [at, says, write]] = ways[i % ways.length] as [string, BadWay];
    return { what, at, says, text: write(randomness) };
  });
}

const { TopicRoute, ConsumerGroupPolicy, NamespacePolicy, RateLimit } = popmesh.v1;
const { Cluster } = envoy.config.cluster.v3;
const { ClusterLoadAssignment } = envoy.config.endpoint.v3;

/** The names that the resources are about: they must exist and be of interest to the sidecar. */
export const spoiled = {
  ...{ topic: "default/good", group: "default/good", namespace: "default", cluster: "bg/broker-a" },
  limit: "default/limit",
};

/** A field of a length that goes beyond the end: no decoder can take it. */
const torn = Buffer.from([0x0a, 0x7f]);

const ofType: Readonly<Record<string, { readonly typeUrl: string; readonly name: string }>> = {
  topic: { typeUrl: TypeUrl.TopicRoute, name: spoiled.topic },
  group: { typeUrl: TypeUrl.ConsumerGroupPolicy, name: spoiled.group },
  namespace: { typeUrl: TypeUrl.NamespacePolicy, name: spoiled.namespace },
  limit: { typeUrl: TypeUrl.RateLimit, name: spoiled.limit },
  cluster: { typeUrl: TypeUrl.Cluster, name: spoiled.cluster },
  endpoints: { typeUrl: TypeUrl.ClusterLoadAssignment, name: spoiled.cluster },
};

const segment = { cluster: spoiled.cluster, queueCount: 1, readable: true, writable: true };
const limitOf = { name: spoiled.limit, generation: 2, direction: 1, messagesPerSecond: 5, burstMs: 1_000 };
const strange = (r: SeededRandomness) => pick(r, ["", "default/other", "DEFAULT/GOOD", "bg/broker-b", "x".repeat(500)]);

const resources: readonly [type: keyof typeof ofType, what: string, (r: SeededRandomness) => Uint8Array][] = [
  ["topic", "torn", () => torn],
  ["group", "torn", () => torn],
  ["namespace", "torn", () => torn],
  ["limit", "torn", () => torn],
  ["cluster", "torn", () => torn],
  ["endpoints", "torn", () => torn],
  ["topic", "noise", (r) => noise(r)],
  ["endpoints", "noise", (r) => noise(r)],
  ["topic", "another name", (r) => TopicRoute.encode({ name: strange(r), state: 1, segment: [segment] }).finish()],
  ["group", "another name", (r) => ConsumerGroupPolicy.encode({ name: strange(r) }).finish()],
  ["namespace", "another name", (r) => NamespacePolicy.encode({ name: strange(r) }).finish()],
  ["limit", "another name", (r) => RateLimit.encode({ ...limitOf, name: strange(r) }).finish()],
  [
    "limit",
    "no direction of ours",
    (r) => RateLimit.encode({ ...limitOf, direction: pick(r, [0, 3, 77]) as 0 }).finish(),
  ],
  [
    "limit",
    "no rate",
    (r) =>
      RateLimit.encode({
        ...limitOf,
        messagesPerSecond: pick(r, [0, -5, Number.NaN, Number.POSITIVE_INFINITY]),
      }).finish(),
  ],
  ["limit", "no burst", () => RateLimit.encode({ ...limitOf, burstMs: 0 }).finish()],
  [
    "limit",
    "a required feature",
    (r) => RateLimit.encode({ ...limitOf, requiredFeatures: [pick(r, ["fair-share", ""])] }).finish(),
  ],
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
