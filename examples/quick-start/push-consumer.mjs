// Handles messages of "orders" as they come: the SDK calls the listener, an ack follows its success.
//
//   node examples/quick-start/push-consumer.mjs [count]      ends after that many messages; without it, by Ctrl-C
import { ConsumeResult, PushConsumer } from "rocketmq-client-nodejs";
import { logger, sidecar } from "./sidecar.mjs";

const count = Number(process.argv[2] ?? Number.POSITIVE_INFINITY);
let handled = 0;
let finish;
const finished = new Promise((resolve) => {
  finish = resolve;
});
process.on("SIGINT", () => finish());

const consumer = new PushConsumer({
  ...sidecar,
  logger,
  consumerGroup: "billing",
  subscriptions: new Map([["orders", "*"]]),
  messageListener: {
    async consume(message) {
      handled += 1;
      if (count <= 20 || count === Number.POSITIVE_INFINITY) {
        console.log(`handled ${message.messageId} ${message.body.toString()} (attempt ${message.deliveryAttempt})`);
      }
      if (handled === count) finish();
      return ConsumeResult.SUCCESS;
    },
  },
});
await consumer.startup();
console.log("push consumer is ready");

await finished;
await consumer.shutdown();
console.log(`${handled} messages handled`);
process.exit(0);
