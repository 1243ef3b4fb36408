import { type Decision, TransactionProducer } from "./transaction-application.ts";

/**
 * A producer as a process of its own, which a test may kill:
 *
 *     transaction-process.js <endpoint> <topic> <half messages>
 *
 * Sends the half messages "commit 0", "rollback 1", "commit 2" … and never ends them by itself. Its checker answers with what a
 * body begins with, and prints it.
 */
const [, , endpoint = "", topic = "", count = "0"] = process.argv;
const application = new TransactionProducer(endpoint, [topic], (body): Decision => {
  process.stdout.write(`checked: ${body}\n`);
  return body.startsWith("commit") ? "COMMIT" : "ROLLBACK";
});
await application.producer.startup();
for (let i = 0; i < Number(count); i++) await application.begin(topic, `${i % 2 === 0 ? "commit" : "rollback"} ${i}`);
process.stdout.write("ready\n");
