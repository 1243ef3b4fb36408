// Asks for messages of "orders" when it has time for them, and acks each by itself.
//
//   node examples/quick-start/simple-consumer.mjs [count]      ends after that many messages; without it, by Ctrl-C
import { SimpleConsumer } from "rocketmq-client-nodejs";
import { logger, sidecar } from "./sidecar.mjs";

const count = Number(process.argv[2] ?? Number.POSITIVE_INFINITY);
const batch = 32;
const invisibleMs = 30_000;

const consumer = new SimpleConsumer({
  ...sidecar,
  logger,
  consumerGroup: "shipping",
  subscriptions: new Map([["orders", "*"]]),
  awaitDuration: 5_000,
});
await consumer.startup();
console.log("simple consumer is ready");

let acked = 0;
let isStopping = false;
process.on("SIGINT", () => {
  isStopping = true;
});
while (acked < count && !isStopping) {
  const messages = await consumer.receive(batch, invisibleMs);
  await Promise.all(messages.map((message) => consumer.ack(message)));
  acked += messages.length;
  if (count <= 20 || count === Number.POSITIVE_INFINITY) {
    for (const message of messages) console.log(`acked ${message.messageId} ${message.body.toString()}`);
  }
}
await consumer.shutdown();
console.log(`${acked} messages acked`);
process.exit(0);
