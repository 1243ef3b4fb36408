import { Producer, SimpleConsumer } from "rocketmq-client-nodejs";
import { quietLogger } from "./quiet-logger.ts";

/**
 * A process that consumes a topic with the official SDK and sends each message on to another topic within its trace, as any
 * instrumented application would. Prints the body of each, one a line, behind "got ", before it acknowledges it.
 * `node lane-consumer.js <endpoint> <group> <topic> <topic to send on to>`. Runs until it is killed.
 */
const [endpoints = "", consumerGroup = "", topic = "", onward = ""] = process.argv.slice(2);
const common = { endpoints, namespace: "", logger: quietLogger };
const consumer = new SimpleConsumer({
  ...{ ...common, consumerGroup },
  subscriptions: new Map([[topic, "*"]]),
  awaitDuration: 2_000,
});
const producer = new Producer({ ...common, topics: [onward] });
await producer.startup();
await consumer.startup();
for (;;) {
  try {
    for (const message of await consumer.receive(16, 15_000)) {
      const body = message.body.toString();
      // Another span of the same trace.
      const traceparent = (message.properties.get("traceparent") ?? "").replace(/-[0-9a-f]{16}-/, "-b7ad6b7169203331-");
      await producer.send({
        ...{ topic: onward, body: message.body, keys: [body] },
        properties: new Map([["traceparent", traceparent]]),
      });
      process.stdout.write(`got ${body}\n`);
      await consumer.ack(message);
    }
  } catch {
    // Nothing there, or the mesh is busy: the next receive tells.
  }
}
