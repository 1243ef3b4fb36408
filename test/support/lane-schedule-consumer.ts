import { setTimeout as sleep } from "node:timers/promises";
import { type MessageView, SimpleConsumer } from "rocketmq-client-nodejs";
import { quietLogger } from "./quiet-logger.ts";

/**
 * A process that consumes some topics for some groups with the official SDK. Prints a line for each message it is given, before it does
 * anything with it, and one for each ack that was answered OK: `got GROUP ID NANOSECONDS` and `acked GROUP ID NANOSECONDS`, by a clock that all
 * processes of the machine share. `node lane-schedule-consumer.js ENDPOINT GROUPS TOPICS`, names with commas. Runs until it is killed.
 */
const [endpoints = "", groups = "", topics = ""] = process.argv.slice(2);
const invisibleMs = 10_000;
const say = (what: string, group: string, { body }: MessageView): void => {
  process.stdout.write(`${what} ${group} ${body.toString()} ${process.hrtime.bigint()}\n`);
};

const consume = async (consumerGroup: string, topic: string): Promise<never> => {
  const consumer = new SimpleConsumer({
    ...{ endpoints, namespace: "", logger: quietLogger, consumerGroup, awaitDuration: 1_000 },
    subscriptions: new Map([[topic, "*"]]),
  });
  for (;;) {
    try {
      await consumer.startup();
      break;
    } catch {
      await sleep(50);
    }
  }
  for (;;) {
    let messages: MessageView[] = [];
    try {
      messages = await consumer.receive(16, invisibleMs);
    } catch {
      await sleep(20);
    }
    for (const message of messages) say("got", consumerGroup, message);
    for (const message of messages) {
      // What no try brings through comes again when its lease is over.
      for (let tries = 0; tries < 20; tries++) {
        try {
          await consumer.ack(message);
          say("acked", consumerGroup, message);
          break;
        } catch {
          await sleep(100);
        }
      }
    }
  }
};
await Promise.all(groups.split(",").flatMap((group) => topics.split(",").map((topic) => consume(group, topic))));
