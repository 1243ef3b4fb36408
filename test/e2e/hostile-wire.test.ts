import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { controls, notInNames, notUtf8, put, strangers } from "../support/hostile-text.ts";
import { pick } from "../support/random-message.ts";
import { message, type RawV2Client } from "../support/raw-v2-client.ts";
import { MeshParts } from "../support/start-parts.ts";
import { testSeed } from "../support/test-seed.ts";

const casesEach = 1_000;
const atOnce = 32;
const v2 = apache.rocketmq.v2;

/** Runs `count` cases, some at a time. */
async function each(count: number, one: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await one(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

const hostileName = (randomness: Randomness) =>
  put("orders", 1 + randomIndex(randomness, 5), pick(notInNames, randomness));

describe(`hostile filters and names through a real mesh (T25; seed ${testSeed})`, function () {
  this.timeout(120_000);
  let parts: MeshParts;
  let client: RawV2Client;
  before(async () => {
    parts = await MeshParts.start();
    client = parts.client(await parts.startSidecar(), "hostile");
    await honest();
  });
  after(() => parts?.stop());

  let sent = 0;
  /** An honest client is served as before, and nothing is there that it did not make. */
  async function honest(): Promise<void> {
    const { status } = await client.call("SendMessage", { messages: [message("orders", `m-${++sent}`)] });
    assert.equal(status?.code, Code.Ok, status?.message);
    const got = await client.receive({
      ...{ group: { name: "billing" }, messageQueue: { topic: { name: "orders" }, id: 0 } },
      ...{ filterExpression: { type: 1, expression: "*" }, batchSize: 32, invisibleDuration: { seconds: 30 } },
      longPollingTimeout: { seconds: 5 },
    });
    assert.equal(got.code, Code.Ok, got.message);
    const names = async (kind: string) => {
      const { items } = (await (await fetch(`${parts.api}/v1/namespaces/default/${kind}`)).json()) as {
        items: { metadata: { name: string } }[];
      };
      return items.map(({ metadata }) => metadata.name);
    };
    assert.deepEqual([await names("topics"), await names("groups")], [["orders"], ["billing"]]);
    const queues = (await (await fetch(`http://${parts.brokerAdmin}/queues`)).json()) as { topics: { name: string }[] };
    assert.deepEqual(
      queues.topics.map(({ name }) => name),
      ["default/orders"],
    );
    assert.deepEqual(readdirSync(parts.directory).sort(), ["broker", "control-plane", "sidecar-1"]);
  }

  const receiveWith = (topic: string, group: string, filter: { type: number; expression: string }) =>
    client.receive({
      ...{ group: { name: group }, messageQueue: { topic: { name: topic }, id: 0 }, filterExpression: filter },
      ...{ batchSize: 1, invisibleDuration: { seconds: 30 }, longPollingTimeout: { seconds: 1 } },
    });

  it(`none of ${casesEach} expressions with something foreign in them gets as far as a queue`, async () => {
    const randomness = new SeededRandomness(testSeed);
    const cases = Array.from({ length: casesEach }, () => {
      const sql = pick(["a = 1", "a IS NOT NULL AND b > 2", "region IN ('eu','us')"], randomness);
      const foreign = pick(strangers, randomness);
      const isTag = randomIndex(randomness, 4) === 0;
      // In front, where no text is open.
      return isTag
        ? { type: 1, expression: `a || ${put("tags", 2, pick([...controls, "|"], randomness))} || b` }
        : {
            type: 2,
            expression: randomIndex(randomness, 2) === 0 ? foreign + sql : `${sql} OR a = 'open ${foreign}`,
          };
    });
    await each(casesEach, async (i) => {
      const { code, message: text } = await receiveWith("orders", "billing", cases[i]!);
      assert.equal(code, Code.IllegalFilterExpression, `${JSON.stringify(cases[i])}: ${code} ${text}`);
      assert.ok(text.length < 400 && ![...text].some((c) => controls.includes(c)), JSON.stringify(text));
    });
    await honest();
  });

  it(`none of ${casesEach} names that no topic or group has is sent to, received from, acked for or routed`, async () => {
    const randomness = new SeededRandomness(testSeed);
    const names = Array.from({ length: casesEach }, () => hostileName(randomness));
    await each(casesEach, async (i) => {
      const name = names[i]!;
      const kind = i % 4;
      const code =
        kind === 0
          ? (await client.call("SendMessage", { messages: [message(name, "x")] })).status?.code
          : kind === 1
            ? (await client.call("QueryRoute", { topic: { name } })).status?.code
            : kind === 2
              ? (await receiveWith("orders", name, { type: 1, expression: "*" })).code
              : (await client.call("AckMessage", { group: { name }, topic: { name: "orders" }, entries: [] })).status
                  ?.code;
      assert.equal(code, kind < 2 ? Code.IllegalTopic : Code.IllegalConsumerGroup, `${kind} ${JSON.stringify(name)}`);
    });
    await honest();
  });

  it(`none of ${casesEach} requests with bytes that are no UTF-8 is served`, async () => {
    const randomness = new SeededRandomness(testSeed);
    await each(casesEach, async (i) => {
      const wrong = pick(notUtf8, randomness);
      const place = "x".repeat(wrong.length);
      const bytes = Buffer.from(
        i % 2 === 0
          ? v2.QueryRouteRequest.encode({ topic: { name: `orders${place}` } }).finish()
          : v2.SendMessageRequest.encode({
              messages: [message("orders", "", { tag: `t${place}` }, { userProperties: {} })],
            }).finish(),
      );
      wrong.copy(bytes, bytes.indexOf(i % 2 === 0 ? `orders${place}` : `t${place}`) + (i % 2 === 0 ? 6 : 1));
      const rpc = i % 2 === 0 ? "QueryRoute" : "SendMessage";
      // A request that is no protobuf may be refused by gRPC itself.
      const code = await client.callRaw(rpc, bytes).then(
        (answer) => (i % 2 === 0 ? v2.QueryRouteResponse : v2.SendMessageResponse).decode(answer).status?.code,
        () => Code.BadRequest,
      );
      assert.ok(code !== undefined && code >= 40_000 && code < 50_000, `${rpc} ${wrong.toString("hex")}: ${code}`);
    });
    await honest();
  });

  it(`none of ${2 * casesEach} hostile names is declared, deleted or reset through the control plane`, async () => {
    const randomness = new SeededRandomness(testSeed);
    const names = Array.from({ length: 2 * casesEach }, () => hostileName(randomness));
    const ask = (method: string, path: string, body?: string) =>
      fetch(`${parts.api}${path}`, {
        ...{ method, headers: { "x-popmesh-client": "hostile", "content-type": "application/json" } },
        ...(body === undefined ? {} : { body }),
      });
    await each(names.length, async (i) => {
      const name = names[i]!;
      const inPath = encodeURIComponent(name);
      const metadata = i % 2 === 0 ? { name } : { name: "orders", namespace: name };
      const kind = i % 3 === 0 ? "Topic" : "ConsumerGroup";
      const said =
        i % 4 < 2
          ? await ask("POST", "/v1/apply", JSON.stringify({ apiVersion: "popmesh.io/v1", kind, metadata, spec: {} }))
          : i % 4 === 2
            ? await ask("DELETE", `/v1/namespaces/default/topics/${inPath}`)
            : await ask("POST", `/v1/namespaces/default/groups/${inPath}/reset`, '{"to":"earliest"}');
      assert.ok(said.status >= 400 && said.status < 500, `${i % 4} ${JSON.stringify(name)}: ${said.status}`);
      assert.notEqual(((await said.json()) as { error?: string }).error ?? "", "");
    });
    await honest();
  });
});
