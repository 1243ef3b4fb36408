// One instance of the application "billing": it takes orders from the sidecar beside it, handles them and acks them. It knows nothing
// of lanes, rules or rollouts. Its effects are the lines "handled <user> <number>".
//
//   node examples/demo/consumer.mjs <endpoint> [good|bad|forgetful]
//
// "bad" is a version with a bug: it fails every order and gives it back. "forgetful" acks some orders that it has not handled: the demo that
// runs it must say so. A line "hold" on the standard input makes it stop in the middle of the next order, for whoever wants to kill it there.
import { createInterface } from "node:readline";
import { SimpleConsumer } from "rocketmq-client-nodejs";

const [endpoints = "127.0.0.1:8081", version = "good"] = process.argv.slice(2);
const batch = 8;
const invisibleMs = 10_000;
const workMs = 4;
/** After a failure the order may come again this soon. */
const againMs = 1_000;

const consumer = new SimpleConsumer({
  ...{ endpoints, namespace: "", consumerGroup: "billing" },
  logger: { info() {}, debug() {}, warn() {}, error() {} },
  subscriptions: new Map([["orders", "*"]]),
  awaitDuration: 1_000,
});

let isStopping = false;
let holds = false;
process.on("SIGTERM", () => {
  isStopping = true;
});
createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "hold") holds = true;
});

await consumer.startup();
let isReady = false;
while (!isStopping) {
  let messages;
  try {
    messages = await consumer.receive(batch, invisibleMs);
  } catch {
    // Nothing there, or the mesh is busy: the next receive tells.
    continue;
  } finally {
    if (!isReady) console.log("ready");
    isReady = true;
  }
  for (const message of messages) await take(message);
}
await consumer.shutdown();
process.exit(0);

async function take(message) {
  const order = message.body.toString();
  if (holds) {
    console.log(`holding ${order}`);
    await new Promise(() => {});
  }
  await new Promise((resolve) => setTimeout(resolve, workMs));
  try {
    if (version === "bad") {
      console.log(`failed ${order}`);
      await consumer.changeInvisibleDuration(message, againMs);
      return;
    }
    if (version !== "forgetful" || !order.endsWith("7 3")) console.log(`handled ${order}`);
    await consumer.ack(message);
  } catch (error) {
    console.log(`trouble ${order} ${error instanceof Error ? error.message : error}`);
  }
}
