import type { TopicFigures } from "../broker-port.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";

/** What the admin port shows of every topic. */
export function topicFigures({ topics, queues, transactions, waiting }: BrokerTables): TopicFigures[] {
  return Array.from(topics.all(), (topic) => ({
    name: topic.name,
    id: topic.id,
    incarnation: topic.incarnation,
    queueCount: topic.queues.length,
    messages: topic.queues.reduce((sum, queue) => sum + queues.endOffset(queue) - queues.beginOffset(queue), 0),
    openTransactions: transactions.countOf(topic.id),
    delayed: waiting.countOf(topic.id),
  }));
}

/** Counts that are kept by topic number, by its name. */
export function countsByTopic(
  { topics }: BrokerTables,
  counts: Iterable<readonly [topicId: number, count: number]>,
): { readonly topic: string; readonly count: number }[] {
  return Array.from(counts, ([topicId, count]) => ({ topic: topics.byId(topicId)?.name ?? "", count }));
}
