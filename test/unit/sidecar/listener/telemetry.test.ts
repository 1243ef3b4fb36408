import assert from "node:assert/strict";
import { connect } from "node:http2";
import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../../../proto/code.ts";
import { type RawV2Client, receiveRequest, type TelemetryLine } from "../../../support/raw-v2-client.ts";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";
import { Stopwatch } from "../../../support/stopwatch.ts";
import { waitUntil } from "../../../support/wait-until.ts";

type Settings = apache.rocketmq.v2.ISettings;

const language = { java: 1, python: 6, nodeJs: 8 };
const producer: Settings = {
  clientType: 1,
  accessPoint: { scheme: 1, addresses: [{ host: "127.0.0.1", port: 8081 }] },
  requestTimeout: { seconds: 3, nanos: 0 },
  publishing: { topics: [{ resourceNamespace: "ns", name: "t" }], validateMessageType: true },
  userAgent: { language: language.java, version: "5.2.1", platform: "linux", hostname: "h" },
};
const consumerOf = (clientType: number, spoken: number, group = "g"): Settings => ({
  clientType,
  requestTimeout: { seconds: 3, nanos: 0 },
  subscription: {
    group: { name: group },
    subscriptions: [{ topic: { name: "t" }, expression: { type: 1, expression: "*" } }],
  },
  userAgent: { language: spoken },
});

describe("Telemetry", () => {
  let mesh: SidecarUnderTest;
  before(async () => {
    mesh = await SidecarUnderTest.start();
    mesh.plane.setTopic("default/t", { brokers: ["broker-a"] });
    mesh.plane.setGroup("default/g", {
      attemptsMax: 5,
      backoff: { delayMs: [1_000, 5_000, 10_000] },
      receiveBatchSize: 16,
      longPollingMs: 15_000,
    });
  });
  after(() => mesh.stop());

  async function settingsFor(sent: Settings, client: RawV2Client = mesh.client()) {
    const telemetry = client.telemetry();
    telemetry.send({ settings: sent });
    await waitUntil("the answer", () => telemetry.commands.length > 0);
    telemetry.halfClose();
    const [command] = telemetry.commands;
    assert.equal(command?.command, "settings");
    return { status: command?.status, settings: command?.settings, raw: telemetry.raw[0] };
  }

  it("[12, trap 4] gives a producer every field that some SDK needs", async () => {
    const { status, settings } = await settingsFor(producer);
    assert.equal(status?.code, Code.Ok);
    assert.equal(settings?.pubSub, "publishing");
    assert.equal(settings?.publishing?.maxBodySize, 4 * 1024 * 1024);
    assert.equal(settings?.publishing?.validateMessageType, true);
    assert.equal(settings?.backoffPolicy?.strategy, "exponentialBackoff");
    assert.equal(settings?.backoffPolicy?.maxAttempts, 3);
    assert.equal(settings?.backoffPolicy?.exponentialBackoff?.initial?.nanos, 10e6);
    assert.equal(settings?.metric?.on, false);
    // As received: C++ adopts the namespaces it finds here.
    assert.equal(settings?.publishing?.topics[0]?.resourceNamespace, "ns");
    assert.equal(settings?.accessPoint?.addresses[0]?.port, 8081);
    assert.equal(settings?.userAgent?.hostname, "h");
  });

  it("[12] writes the metric field although all in it is false", async () => {
    const { raw } = await settingsFor(producer);
    assert.ok(raw);
    const settingsField = apache.rocketmq.v2.TelemetryCommand.decode(raw);
    assert.notEqual(settingsField.settings?.metric, null);
    assert.ok(raw.includes(Buffer.from([(8 << 3) | 2, 0])), "field 8, present and empty");
  });

  for (const [name, clientType] of [
    ["push", 2],
    ["simple", 3],
  ] as const) {
    it(`[12] gives a ${name} consumer every field that some SDK needs`, async () => {
      const { status, settings } = await settingsFor(consumerOf(clientType, language.java));
      assert.equal(status?.code, Code.Ok);
      assert.equal(settings?.pubSub, "subscription");
      assert.equal(settings?.subscription?.group?.name, "g");
      assert.equal(settings?.subscription?.subscriptions.length, 1);
      assert.equal(settings?.subscription?.receiveBatchSize, 16);
      assert.equal(settings?.subscription?.longPollingTimeout?.seconds, 15);
      assert.equal(settings?.subscription?.fifo, false);
      assert.equal(settings?.backoffPolicy?.maxAttempts, 5);
      assert.equal(settings?.backoffPolicy?.customizedBackoff?.next.length, 3);
      assert.equal(settings?.metric?.on, false);
    });
  }

  it("tells a consumer to consume in order if all its topics are FIFO topics, one message at a time", async () => {
    mesh.plane.setTopic("default/fifo-a", { brokers: ["broker-a"], messageTypes: 1 << 2 });
    mesh.plane.setTopic("default/fifo-b", { brokers: ["broker-a"], messageTypes: 1 << 2 });
    mesh.plane.setTopic("default/mixed", { brokers: ["broker-a"], messageTypes: 0b11110 });
    mesh.plane.setTopic("default/normal", { brokers: ["broker-a"], messageTypes: 1 << 1 });
    const told = async (...topics: string[]) => {
      const consumer = consumerOf(2, language.java);
      const subscriptions = topics.map((name) => ({ topic: { name }, expression: { type: 1, expression: "*" } }));
      const { settings } = await settingsFor({
        ...consumer,
        subscription: { ...consumer.subscription, subscriptions },
      });
      return [settings?.subscription?.fifo, settings?.subscription?.receiveBatchSize];
    };
    assert.deepEqual(await told("fifo-a"), [true, 1]);
    assert.deepEqual(await told("fifo-a", "fifo-b"), [true, 1]);
    assert.deepEqual(await told("fifo-a", "normal"), [false, 16], "order holds without, see settings-reply.ts");
    assert.deepEqual(await told("mixed"), [false, 16]);
    assert.deepEqual(await told("normal"), [false, 16]);
    assert.deepEqual(await told(), [false, 16]);
  });

  it("chooses the form of the back-off by the language: growth for Node.js, a list for Python", async () => {
    mesh.plane.setGroup("default/grows", { backoff: { initialMs: 1_000, maxMs: 8_000, multiplier: 2 } });
    const nodeJs = await settingsFor(consumerOf(2, language.nodeJs));
    assert.equal(nodeJs.settings?.backoffPolicy?.strategy, "exponentialBackoff");
    assert.equal(nodeJs.settings?.backoffPolicy?.exponentialBackoff?.initial?.seconds, 1);
    assert.equal(nodeJs.settings?.backoffPolicy?.exponentialBackoff?.max?.seconds, 10);
    const python = await settingsFor(consumerOf(2, language.python, "grows"));
    assert.deepEqual(
      python.settings?.backoffPolicy?.customizedBackoff?.next.map(({ seconds }) => seconds),
      [1, 2, 4, 8],
    );
  });

  it("gives lite consumers their quotas", async () => {
    const { settings } = await settingsFor(consumerOf(5, language.java));
    assert.ok((settings?.subscription?.liteSubscriptionQuota ?? 0) > 0);
    assert.equal(settings?.subscription?.maxLiteTopicSize, 64);
  });

  it("[12, trap 17] answers settings as often as they are sent", async () => {
    const telemetry = mesh.client().telemetry();
    for (let i = 0; i < 5; i++) telemetry.send({ settings: producer });
    await waitUntil("five answers", () => telemetry.commands.length >= 5);
    assert.equal(telemetry.commands.length, 5);
    telemetry.halfClose();
  });

  it("[trap 18] does not need a route to have been asked for before", async () => {
    const { status } = await settingsFor(consumerOf(3, language.java, "never-seen"), mesh.client("first-thing"));
    assert.equal(status?.code, Code.Ok);
  });

  it("answers a consumer with defaults when nothing is to be had about its group", async () => {
    mesh.plane.setNamespace("closed", false, false);
    const client = mesh.client("c-closed", { "x-mq-namespace": "closed" });
    const { status, settings } = await settingsFor(consumerOf(2, language.java), client);
    assert.equal(status?.code, Code.Ok);
    assert.equal(settings?.backoffPolicy?.maxAttempts, 17);
    assert.equal(settings?.subscription?.receiveBatchSize, 32);
  });

  it("[7, trap 9] ends with OK within a second when the client half-closes", async () => {
    const telemetry = mesh.client().telemetry();
    telemetry.send({ settings: producer });
    await waitUntil("the answer", () => telemetry.commands.length > 0);
    const watch = new Stopwatch();
    telemetry.halfClose();
    assert.equal((await telemetry.ended).code, 0);
    assert.ok(watch.stop() < 1_000);
  });

  it("[7] leaves nothing behind when the client resets the stream", async () => {
    const open = async () => Number(/popmesh_sidecar_telemetry_streams (\d+)/.exec(await metricsText())?.[1]);
    const before = await open();
    const telemetry = mesh.client().telemetry();
    telemetry.send({ settings: producer });
    await waitUntil("the answer", () => telemetry.commands.length > 0);
    assert.equal(await open(), before + 1);
    telemetry.cancel();
    await waitUntil("the stream is forgotten", async () => (await open()) === before);
  });

  async function metricsText(): Promise<string> {
    return (await fetch(`${mesh.adminUrl}/stats/prometheus`)).text();
  }

  for (const [what, settings, code] of [
    ["a topic name that cannot be", { ...producer, publishing: { topics: [{ name: "no.dots" }] } }, Code.IllegalTopic],
    ["a group name that cannot be", consumerOf(3, language.java, "no.dots"), Code.IllegalConsumerGroup],
    [
      "a filter that is none",
      {
        clientType: 3,
        subscription: {
          group: { name: "g" },
          subscriptions: [{ topic: { name: "t" }, expression: { type: 1, expression: "||" } }],
        },
      },
      Code.IllegalFilterExpression,
    ],
    ["neither a producer's nor a consumer's branch", { clientType: 1 }, Code.BadRequest],
    [
      "client properties beyond their limits",
      { ...producer, clientProperties: { "1bad": "v" } },
      Code.InvalidClientProperties,
    ],
  ] as [string, Settings, Code][]) {
    it(`makes the start fail on settings with ${what}: a status, and at once the gRPC error`, async () => {
      const telemetry = mesh.client().telemetry();
      telemetry.send({ settings });
      const { code: grpcCode, details } = await telemetry.ended;
      assert.equal(grpcCode, 3);
      assert.match(details, /^process client telemetryCommand failed\. /);
      assert.equal(telemetry.commands.length, 1);
      assert.equal(telemetry.commands[0]?.status?.code, code);
      assert.equal(telemetry.commands[0]?.command, undefined);
    });
  }

  it("[trap 3] repeats its answer to Node.js clients, after their routes and on a short schedule", async () => {
    const client = mesh.client();
    const telemetry = client.telemetry();
    telemetry.send({ settings: { ...producer, userAgent: { language: language.nodeJs } } });
    await waitUntil("the answer", () => telemetry.commands.length === 1);
    await client.call("QueryRoute", { topic: { name: "t" } });
    const watch = new Stopwatch();
    await waitUntil("a repetition soon after the route", () => telemetry.commands.length >= 2);
    assert.ok(watch.stop() < 600);
    await waitUntil("the schedule", () => telemetry.commands.length >= 4);
    telemetry.halfClose();
  });

  it("does not repeat itself to others", async () => {
    const client = mesh.client();
    const telemetry = client.telemetry();
    telemetry.send({ settings: producer });
    await waitUntil("the answer", () => telemetry.commands.length === 1);
    await client.call("QueryRoute", { topic: { name: "t" } });
    await client.receive(receiveRequest("t", "g", { longPollingTimeout: { seconds: 0, nanos: 500e6 } }));
    assert.equal(telemetry.commands.length, 1);
    telemetry.halfClose();
  });

  it("[35] tells running consumers when the policy of their group changes", async () => {
    mesh.plane.setGroup("default/tuned", { receiveBatchSize: 10 });
    const telemetry = mesh.client().telemetry();
    telemetry.send({ settings: consumerOf(2, language.java, "tuned") });
    await waitUntil("the answer", () => telemetry.commands.length === 1);
    assert.equal(telemetry.commands[0]?.settings?.subscription?.receiveBatchSize, 10);
    mesh.plane.setGroup("default/tuned", { receiveBatchSize: 20 });
    await waitUntil("the new settings", () => telemetry.commands.length === 2);
    assert.equal(telemetry.commands[1]?.settings?.subscription?.receiveBatchSize, 20);
    telemetry.halfClose();
  });

  it("[37] speaks to the newer of two streams of a client; closing the older changes nothing", async () => {
    mesh.plane.setGroup("default/twice", { receiveBatchSize: 10 });
    const older = mesh.client("same");
    const newer = mesh.client("same");
    const open = async (client: RawV2Client): Promise<TelemetryLine> => {
      const telemetry = client.telemetry();
      telemetry.send({ settings: consumerOf(2, language.java, "twice") });
      await waitUntil("the answer", () => telemetry.commands.length === 1);
      return telemetry;
    };
    const first = await open(older);
    const second = await open(newer);
    first.halfClose();
    await first.ended;
    mesh.plane.setGroup("default/twice", { receiveBatchSize: 20 });
    await waitUntil("the newer stream is told", () => second.commands.length === 2);
    assert.equal(first.commands.length, 1);
    second.halfClose();
  });

  for (const timeout of ["31536000M", "525600M", "99999999H"]) {
    it(`[1, trap 1] keeps a stream with grpc-timeout ${timeout} open and answers settings on it`, async () => {
      const session = connect(`http://${mesh.address}`);
      const stream = session.request({
        ":method": "POST",
        ":path": "/apache.rocketmq.v2.MessagingService/Telemetry",
        "content-type": "application/grpc",
        te: "trailers",
        "grpc-timeout": timeout,
        "x-mq-client-id": "java",
      });
      const chunks: Buffer[] = [];
      let hasEnded = false;
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", () => (hasEnded = true));
      const ask = () => {
        const body = Buffer.from(apache.rocketmq.v2.TelemetryCommand.encode({ settings: producer }).finish());
        const prefix = Buffer.alloc(5);
        prefix.writeUInt32BE(body.length, 1);
        stream.write(Buffer.concat([prefix, body]));
      };
      ask();
      await waitUntil("an answer", () => chunks.length > 0);
      const bytes = Buffer.concat(chunks).length;
      ask();
      await waitUntil("another answer", () => Buffer.concat(chunks).length === 2 * bytes);
      assert.equal(hasEnded, false);
      stream.end();
      await waitUntil("a clean end", () => hasEnded);
      session.close();
    });
  }
});
