import { SimpleConsumer } from "rocketmq-client-nodejs";

/**
 * A process that consumes a topic with the official SDK and prints body and mark of origin ("-": none) of each message behind "got ", then
 * acknowledges it. `node mirror-consumer.js <endpoint> <group> <topic>`. Runs until it is killed.
 */
const [endpoints = "", consumerGroup = "", topic = ""] = process.argv.slice(2);
const consumer = new SimpleConsumer({
  ...{ endpoints, namespace: "", consumerGroup, awaitDuration: 1_000 },
  logger: { info() {}, debug() {}, warn() {}, error() {} },
  subscriptions: new Map([[topic, "*"]]),
});
await consumer.startup();
for (let isReady = false; ; ) {
  try {
    for (const message of await consumer.receive(16, 30_000)) {
      process.stdout.write(`got ${message.body.toString()} ${message.properties.get("x-popmesh-mirror-of") ?? "-"}\n`);
      await consumer.ack(message);
    }
  } catch {
    // Nothing there, or the mesh is busy: the next receive tells.
  }
  if (!isReady) process.stdout.write("ready\n");
  isReady = true;
}
