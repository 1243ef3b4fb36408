// Sends messages to the topic "orders" through the sidecar on localhost, with the official SDK and nothing else.
//
//   node examples/quick-start/producer.mjs [count]
import { Producer } from "rocketmq-client-nodejs";
import { logger, sidecar } from "./sidecar.mjs";

const count = Number(process.argv[2] ?? 10);
const inFlightMax = 64;

const producer = new Producer({ ...sidecar, topics: ["orders"], logger });
await producer.startup();

for (let sent = 0; sent < count; ) {
  const batch = Math.min(inFlightMax, count - sent);
  const receipts = await Promise.all(
    Array.from({ length: batch }, (_, i) =>
      producer.send({
        topic: "orders",
        tag: "created",
        keys: [`order-${sent + i}`],
        body: Buffer.from(JSON.stringify({ order: sent + i, amount: 42 })),
      }),
    ),
  );
  sent += batch;
  if (count <= 20) for (const { messageId } of receipts) console.log(`sent ${messageId}`);
}
console.log(`${count} messages sent: each is on the broker's disk`);

await producer.shutdown();
