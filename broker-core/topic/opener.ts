import { Code } from "../../proto/code.ts";
import type { GroupOpening, Opened, Refused, TopicOpening } from "../broker-port.ts";
import { RecordType } from "../commit-log/log.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { cutText, textBytesMax } from "../record/fixed-bytes.ts";
import { delayCountMax } from "../record/group-record.ts";
import type { ConsumerGroup } from "./consumer-group.ts";
import { deadLetterTopicName, isOrderedTopic, queueCountMax, type Topic } from "./topic.ts";

/** Incarnation of a topic that the broker opened itself. The first opening with a real one adopts it as it is. */
export const ownIncarnation = 0;

/** So that the name of the group's dead-letter topic fits too. */
const groupNameBytesMax = textBytesMax - deadLetterTopicName("").length;

const allMessageTypes = 0xffff_ffff;

/** Turns names into ids: opens, changes, and drops what an older incarnation left. */
export class Opener {
  readonly #tables: BrokerTables;
  readonly #journal: Journal;

  constructor(tables: BrokerTables, journal: Journal) {
    this.#tables = tables;
    this.#journal = journal;
  }

  /** `onDrop` is called with the topic of an older incarnation before its state goes. */
  openTopic(opening: TopicOpening, onDrop: (topic: Topic) => void): Opened {
    const failure = checkTopic(opening);
    if (failure !== undefined) return failure;
    const known = this.#tables.topics.byName(opening.name);
    if (known === undefined) return this.#addTopic(opening);
    if (opening.incarnation === known.incarnation || known.incarnation === ownIncarnation) {
      return this.#changeTopic(known, opening);
    }
    if (opening.incarnation < known.incarnation) {
      return refused(
        Code.TopicNotFound,
        `topic ${opening.name}, incarnation ${opening.incarnation}, was deleted; ` +
          `it exists anew as incarnation ${known.incarnation}: fetch its route again`,
      );
    }
    onDrop(known);
    this.#journal.topicDropped(known.id);
    return this.#addTopic(opening);
  }

  /** The topic of a name that the broker needs for itself; opened when it is not there. */
  ownTopic(name: string, messageTypes = allMessageTypes): Topic {
    const { topics } = this.#tables;
    const known = topics.byName(name);
    if (known !== undefined) return known;
    this.#addTopic({ name, incarnation: ownIncarnation, messageTypes, queueCount: 1 });
    return topics.byName(name)!;
  }

  openGroup(opening: GroupOpening): Opened {
    const failure = checkName(opening.name, Code.IllegalConsumerGroup, "group", groupNameBytesMax);
    if (failure !== undefined) return failure;
    if (opening.backoff.delaysMs.length > delayCountMax) {
      return refused(Code.BadRequest, `group ${opening.name}: at most ${delayCountMax} backoff delays`);
    }
    const { groups } = this.#tables;
    const known = groups.byName(opening.name);
    const unnamed = known === undefined ? groups.unnamed() : undefined;
    if (unnamed !== undefined) return refuseBesideUnnamed(opening.name, unnamed);
    if (known !== undefined && opening.generation <= known.policy.generation) {
      return { ok: true, id: known.id, position: known.openedPosition };
    }
    const { name, generation, attemptsMax, inflightMax, backoff, broadcast } = opening;
    const instance = broadcast === undefined ? undefined : { ...broadcast, clientId: cutText(broadcast.clientId) };
    const groupId = known?.id ?? groups.nextId;
    const position = this.#journal.group(known === undefined ? RecordType.GroupOpened : RecordType.GroupChanged, {
      groupId,
      name,
      generation,
      attemptsMax,
      inflightMax,
      delaysMs: backoff.delaysMs,
      initialMs: backoff.initialMs,
      maxMs: backoff.maxMs,
      multiplier: backoff.multiplier,
      broadcast: instance,
    });
    return { ok: true, id: groupId, position };
  }

  #addTopic(opening: TopicOpening): Opened {
    const topicId = this.#tables.topics.nextId;
    const position = this.#journal.topic(RecordType.TopicOpened, { topicId, ...opening });
    return { ok: true, id: topicId, position };
  }

  /** Queues never become fewer: what lies in them is still to be consumed. */
  #changeTopic(topic: Topic, opening: TopicOpening): Opened {
    const isKnownOrder = topic.groupQueueCount > 0;
    if (isKnownOrder && isOrderedTopic(topic.name, opening.messageTypes) !== topic.isOrdered) {
      const [is, wanted] = topic.isOrdered ? ["takes", "without"] : ["does not take", "with"];
      return refused(
        Code.BadRequest,
        `topic ${topic.name} ${is} FIFO messages, and was opened ${wanted} them: whether a topic keeps the order of message ` +
          "groups is fixed for its life; delete it and create it anew with the other type",
      );
    }
    const queueCount = Math.max(topic.queues.length, opening.queueCount);
    const isSame =
      queueCount === topic.queues.length &&
      opening.messageTypes === topic.messageTypes &&
      opening.incarnation === topic.incarnation;
    if (isSame) return { ok: true, id: topic.id, position: topic.openedPosition };
    const { messageTypes, incarnation, name } = opening;
    const record = { topicId: topic.id, queueCount, messageTypes, incarnation, name };
    return { ok: true, id: topic.id, position: this.#journal.topic(RecordType.TopicChanged, record) };
  }
}

function checkTopic(opening: TopicOpening): Refused | undefined {
  const { queueCount, incarnation, name } = opening;
  if (!(Number.isInteger(queueCount) && queueCount >= 1 && queueCount <= queueCountMax)) {
    return refused(Code.BadRequest, `topic ${name}: ${queueCount} queues; 1 to ${queueCountMax} are possible`);
  }
  if (!Number.isSafeInteger(incarnation) || incarnation < 0) {
    return refused(Code.BadRequest, `topic ${name}: incarnation ${incarnation} is no whole number below 2^53`);
  }
  return checkName(name, Code.IllegalTopic, "topic", textBytesMax);
}

function checkName(name: string, code: Code, what: string, bytesMax: number): Refused | undefined {
  const bytes = Buffer.byteLength(name);
  if (bytes >= 1 && bytes <= bytesMax) return undefined;
  return refused(code, `a ${what} name has 1 to ${bytesMax} bytes with its namespace; this one has ${bytes}`);
}

/** It may be this one, and would begin anew: its positions must not be lost because its name is. */
function refuseBesideUnnamed(name: string, { id }: ConsumerGroup): Refused {
  return refused(
    Code.InternalServerError,
    `group ${name} is not known here, and the name of group ${id} is lost with a damaged part of the log (damage.json): say ` +
      `whether it is this one, with the operator call "group.adopt" (docs/operations.md)`,
  );
}

function refused(code: Code, message: string): Refused {
  return { ok: false, code, message };
}
