// The whole of popmesh in one terminal, unattended: npm run demo
//
// Orders flow through a consumer. A canary of it starts and gets 20 % of the users; it is killed, base stands in; it comes back; a bad version
// takes its place and is rolled back by itself. At the end every order is counted. Exit code 0 only if none was lost, doubled or handled
// out of order. Everything is a real process, with the official SDK, on free ports and in a directory that is removed afterwards.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Producer } from "rocketmq-client-nodejs";
import { Ledger } from "./ledger.mjs";
import { freePorts, killAll, Process, popmeshProcess, stopAll, until } from "./processes.mjs";
import { chapter, progress, table, took } from "./screen.mjs";

const users = Array.from({ length: 100 }, (_, i) => `user-${i}`);
/** Orders sent and not handled; more wait, so that a slow machine shows the same. */
const openMax = 120;
const sendEveryMs = 5;
/** `--base forgetful`: for the test that has to see the demo fail. */
const baseVersion = process.argv[process.argv.indexOf("--base") + 1] === "forgetful" ? "forgetful" : "good";
const consumerFile = fileURLToPath(new URL("consumer.mjs", import.meta.url));

const directory = mkdtempSync(join(tmpdir(), "popmesh-demo-"));
const ledger = new Ledger();
const ticking = setInterval(() => progress(ledger), 200);
process.on("exit", () => {
  killAll();
  rmSync(directory, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(130));

try {
  await demo();
} catch (error) {
  console.error(`the demo could not go on: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
clearInterval(ticking);
await stopAll();
process.exit();

async function demo() {
  const ports = (await freePorts(8)).map((port) => `127.0.0.1:${port}`);
  const [listen, sidecarAdmin, xds, api, broker, brokerAdmin, canaryListen, canaryAdmin] = ports;
  const flags = { listen, "sidecar-admin": sidecarAdmin, xds, api, broker, "broker-admin": brokerAdmin };
  const argv = Object.entries({ ...flags, "data-dir": directory }).flatMap(([name, value]) => [`--${name}`, value]);
  const mesh = popmeshProcess(["up", ...argv]);
  await until("the mesh is ready", () => mesh.output.includes("popmesh is ready") || failed(mesh));
  chapter("a whole mesh runs: control plane, broker, sidecar");

  const call = async (method, path, body) => {
    const headers = { "x-popmesh-client": "demo", "content-type": "application/yaml" };
    const answer = await fetch(`http://${api}${path}`, { method, headers, ...(body === undefined ? {} : { body }) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${text}`);
    return JSON.parse(text);
  };
  const apply = (file) => call("POST", "/v1/apply", readFileSync(new URL(file, import.meta.url), "utf8"));
  const rollout = async () => (await call("GET", "/v1/namespaces/default/rollouts/orders-canary")).status;
  const ofGroup = async () => (await call("GET", "/v1/namespaces/default/groups/billing/status")).topics[0];
  const canaryState = async () => (await ofGroup())?.lanes?.find(({ lane }) => lane === "canary")?.state;
  const consumer = async (lane, version = "good") => {
    const started = new Process([consumerFile, lane === "base" ? listen : canaryListen, version], (line) =>
      ledger.take(lane, line),
    );
    await until(`a consumer of ${lane} is ready`, () => started.output.includes("ready") || failed(started));
    return started;
  };

  await apply("rules.yaml");
  await Promise.all([consumer("base", baseVersion), consumer("base", baseVersion)]);
  await until("the group reads the topic", async () => (await ofGroup()) !== undefined);
  const sending = send(listen);
  chapter("orders of 100 users flow through two consumers of the base version");
  await until("orders are handled", () => ledger.handledBy.base >= 200);

  const sidecar = ["sidecar", "--lane", "canary", "--listen", canaryListen, "--admin", canaryAdmin];
  popmeshProcess([...sidecar, "--control-plane", xds, "--data-dir", join(directory, "canary"), "--tls", "off"]);
  let canary = await consumer("canary");
  chapter("a canary of the consumer starts, beside a sidecar of lane canary");
  await apply("rollout.yaml");
  chapter("a rollout gives it 20 % of the users");
  await until("the canary handles orders", () => ledger.handledBy.canary >= 80);
  chapter(`the canary has ${ledger.canaryUsers.size} of ${users.length} users, and nobody else has them`);

  canary.say("hold");
  await until("the canary is in the middle of an order", () => canary.output.includes("holding ") || failed(canary));
  await canary.stop("SIGKILL");
  const stoodInBefore = ledger.stoodIn;
  chapter("the canary is killed by SIGKILL, in the middle of an order");
  await until("the lane is spilled", async () => (await canaryState()) === "spilled");
  await until("base stands in", () => ledger.stoodIn >= stoodInBefore + 40);
  chapter("nobody is in its lane: base handles its users' orders");

  canary = await consumer("canary");
  await until("the lane is live", async () => (await canaryState()) === "live");
  const handledBefore = ledger.handledBy.canary;
  await until("the canary handles orders again", () => ledger.handledBy.canary >= handledBefore + 60);
  chapter("the canary is back, and has its users again");

  await canary.stop("SIGTERM");
  const bad = await consumer("canary", "bad");
  chapter("a bad version takes its place: it fails every order");
  await until("the rollout is rolled back", async () => (await rollout()).phase === "rolled back");
  const { rolledBackBecause } = await rollout();
  chapter(`rolled back by itself: ${rolledBackBecause}`);
  const failedBefore = ledger.failed;
  await until("base has its users", () => ledger.stoodIn >= stoodInBefore + 120);
  chapter("its lane is taken back though it lives: base handles what it had");

  sending.stop();
  await sending.done;
  // Then nothing is left that anybody could be given, once or twice; what its consumer printed may still be on its way.
  await until("all orders are settled", () => isSettled(ofGroup));
  await until("all is told", () => ledger.open.length === 0, 2_000).catch(() => {});
  await bad.stop("SIGTERM");
  const { deadLetters = 0 } = (await ofGroup()) ?? {};
  const rows = [
    ["sent", ledger.sentCount],
    ["handled by base", ledger.handledBy.base],
    ["handled by canary", ledger.handledBy.canary],
    ["given back by the bad version", ledger.failed],
    ["of these after the roll-back", ledger.failed - failedBefore],
    ["dead letters", deadLetters],
    ["lost", ledger.open.length],
    ["doubled", ledger.doubled],
    ["order violations", ledger.orderViolations],
  ];
  table(rows);
  for (const trouble of ledger.troubles.slice(0, 5)) console.log(`  ${trouble}`);
  const isWhole = ledger.open.length + ledger.doubled + ledger.orderViolations + deadLetters + sending.refused === 0;
  const isSum = ledger.handledBy.base + ledger.handledBy.canary === ledger.sentCount;
  console.log(isWhole && isSum ? `The counts hold (${took()}).` : "The counts do not hold.");
  process.exitCode = isWhole && isSum ? 0 : 1;
}

/** Sends orders until it is stopped, those of each user in order. */
function send(endpoints) {
  const sending = { refused: 0, isStopped: false, done: undefined, stop: () => (sending.isStopped = true) };
  const run = async () => {
    const logger = { info() {}, debug() {}, warn() {}, error() {} };
    const producer = new Producer({ endpoints, namespace: "", topics: ["orders"], logger });
    await producer.startup();
    for (let number = 0; !sending.isStopped; number++) {
      for (const user of users) {
        if (sending.isStopped) break;
        while (ledger.sentCount - ledger.handledCount >= openMax && !sending.isStopped) await pause();
        try {
          await producer.send({ topic: "orders", messageGroup: user, body: Buffer.from(`${user} ${number}`) });
          ledger.sent(user, number);
        } catch {
          sending.refused += 1;
        }
        await pause();
      }
    }
    await producer.shutdown();
  };
  sending.done = run();
  return sending;
}

function pause() {
  return new Promise((resolve) => setTimeout(resolve, sendEveryMs));
}

async function isSettled(ofGroup) {
  const group = await ofGroup();
  return group !== undefined && group.ready + group.blocked + group.inFlight === 0;
}

function failed(process_) {
  if (process_.hasExited) throw new Error(`a process ended:\n${process_.output}`);
  return false;
}
