import { SimpleConsumer } from "rocketmq-client-nodejs";
import { quietLogger } from "./quiet-logger.ts";

/**
 * A process that consumes a topic with the official SDK and prints the body of each message, one a line, behind "got ", before
 * it acknowledges it. `node broadcast-consumer.js <endpoint> <group> <topic> <client id>`. Runs until it is killed.
 */
const [endpoints = "", consumerGroup = "", topic = "", clientId = ""] = process.argv.slice(2);
const consumer = new SimpleConsumer({
  ...{ endpoints, namespace: "", logger: quietLogger, consumerGroup },
  subscriptions: new Map([[topic, "*"]]),
  awaitDuration: 2_000,
});
// The SDK makes one up per process; a process that comes back is to be the same instance.
Object.assign(consumer, { clientId });
await consumer.startup();
for (;;) {
  try {
    for (const message of await consumer.receive(16, 15_000)) {
      process.stdout.write(`got ${message.body.toString()}\n`);
      await consumer.ack(message);
    }
  } catch {
    // Nothing there, or the mesh is busy: the next receive tells.
  }
}
