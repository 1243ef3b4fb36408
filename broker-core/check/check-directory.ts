import { createHash } from "node:crypto";
import type { Clock } from "../../proto/runtime/clock.ts";
import { type Log, silentLog } from "../../proto/runtime/log.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import type { LaneFigures } from "../broker-port.ts";
import { BrokerState, type BrokerStateOptions } from "../broker-state.ts";
import { inspectCheckpoints } from "../checkpoint/checkpoint-store.ts";
import type { DamageRange, KnownDamage } from "../commit-log/damage.ts";
import { readKnownDamage } from "../commit-log/damage-report.ts";
import { DurableMark } from "../commit-log/durable-mark.ts";
import { type LogRecord, RecordType } from "../commit-log/log.ts";
import { leaveOutRemoved } from "../commit-log/open-commit-log.ts";
import { findDurable, replay } from "../commit-log/recovery.ts";
import { type FoundSegments, findSegments } from "../commit-log/segment-finder.ts";
import { IndexFiles } from "../consume-queue/index-files.ts";
import { IndexDamage } from "../consume-queue/index-pages.ts";
import { refuseForeignBase } from "../directory-release.ts";
import { StateImageError, StateImageVersionError } from "../dispatch/state-image.ts";
import { DataDirectoryError, type Identity, readIdentity } from "../identity.ts";
import { LogHandle } from "../log-handle.ts";
import { RecordFault } from "../record/record-fault.ts";
import { baseCopies, readBase } from "../retention/base-image-store.ts";
import { logBeginOf } from "../retention/log-begin.ts";
import { quarantineDirectory } from "../storage/quarantine.ts";
import type { Storage } from "../storage/storage.ts";
import { checkLookUp } from "./check-look-up.ts";
import { DryStorage } from "./dry-storage.ts";

export interface CheckReport {
  /** What is lost, damaged or contradicts itself, each in a sentence. Empty: the directory is sound. */
  readonly problems: readonly string[];
  /** What is in it. */
  readonly facts: readonly string[];
}

/**
 * Reads a data directory as a start of the broker would, whole and from its newest checkpoint, and changes nothing. The caller
 * holds its lock. Throws `LogFormatError` and `DataDirectoryError` for a directory of another release, and `StorageError` when
 * the disk refuses.
 */
export async function checkDirectory(disk: Storage, clock: Clock): Promise<CheckReport> {
  const storage = new DryStorage(disk);
  const problems: string[] = [];
  const facts: string[] = [];
  const identity = identityOf(storage, problems);
  const begin = logBeginOf(storage);
  refuseForeignBase(storage, begin);
  checkBase(storage, begin, problems);

  const checkpoints = inspectCheckpoints(storage);
  const newest = checkpoints.map(({ found }) => found).findLast((found) => typeof found === "object");
  for (const { path, found } of checkpoints) {
    if (found === "other release")
      facts.push(`${path} is of another release: a start passes it over and reads the log`);
    if (found === "unreadable") {
      problems.push(
        `${path} cannot be read: a start moves it aside and reads more of the log instead; nothing is lost`,
      );
    }
  }

  const all = findSegments(storage, tellingLog(problems));
  const { found } = leaveOutRemoved(all, begin);
  const mark = DurableMark.open(storage);
  const floor = Math.max(mark.position, newest?.position ?? begin, begin);
  const durable = findDurable(found.live, floor);

  const options = stateOptions(identity, clock);
  const report = readKnownDamage(storage);
  if (report === undefined) {
    problems.push("damage.json cannot be read: a start moves it aside, and finds anew what is lost");
  }
  const known = report ?? [];
  const image = begin === 0 ? undefined : readBase(storage, begin);
  const whole = rebuild(found, () => begin, durable, options, image, known);
  const { end, damage, recordCount } = whole.replayed;
  facts.push(`log: positions ${begin} to ${end} in ${found.live.length} files, ${recordCount} records`);
  if (recordCount > 0) facts.push(`records: ${listOf(whole.countByType)}`);
  if (end > durable) {
    facts.push(`the last ${end - durable} bytes were written and perhaps not acknowledged; a start keeps them`);
  }
  for (const range of damage) problems.push(lossOf(range, known));
  problems.push(...consequencesOf(whole.state));
  if (whole.fault !== undefined) problems.push(whole.fault);
  else facts.push(...stateFacts(whole.state));

  if (newest !== undefined && newest.position >= begin) {
    facts.push(`newest checkpoint: at position ${newest.position}`);
    const isWhole = damage.length === 0 && whole.fault === undefined;
    const digest = isWhole ? digestOf(whole.state) : undefined;
    const compared = compare(storage, { found, begin, durable, known }, options, newest, digest);
    (compared.isOfOtherRelease ? facts : problems).push(...compared.told);
  }
  const lookUp = checkLookUp(
    storage,
    found.live.map(({ segment }) => segment),
  );
  problems.push(...lookUp.problems);
  facts.push(...lookUp.facts);
  const aside = storage.list(quarantineDirectory).filter((name) => disk.exists(`${quarantineDirectory}/${name}`));
  if (aside.length > 0)
    facts.push(`${quarantineDirectory}/ holds what earlier starts moved aside: ${aside.join(", ")}`);
  mark.close();
  for (const { segment } of all.live) segment.close();
  for (const segment of all.superseded) segment.close();
  return { problems, facts };
}

function identityOf(storage: Storage, problems: string[]): Identity {
  try {
    return readIdentity(storage);
  } catch (error) {
    if (!(error instanceof DataDirectoryError) || error.isOfOtherRelease) throw error;
    problems.push(error.message);
    return { brokerName: "unknown", receiptKey: Buffer.alloc(32) };
  }
}

function checkBase(storage: Storage, begin: number, problems: string[]): void {
  if (begin === 0) return;
  const copies = baseCopies(storage, begin);
  const unreadable = copies.filter(({ isReadable }) => !isReadable).map(({ path }) => path);
  if (unreadable.length === copies.length) {
    problems.push(
      `the log begins at position ${begin}, and no copy of the state as of there can be read (${unreadable.join(", ")}): ` +
        "without a checkpoint the broker will not start; put a copy back from a backup",
    );
  } else if (unreadable.length > 0) {
    problems.push(`${unreadable.join(", ")} cannot be read; its other copy serves, and nothing is lost`);
  }
}

/** What the search for segments would tell the broker's log is what is wrong with them. */
function tellingLog(problems: string[]): Log {
  const tell = (fields: object, message: string): void => void problems.push(`${message} (${JSON.stringify(fields)})`);
  return { ...silentLog, warn: tell, error: tell } as Log;
}

function stateOptions({ brokerName, receiptKey }: Identity, clock: Clock): BrokerStateOptions {
  const start = { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
  return { brokerName, receiptKey, runId: 0, bootId: clock.bootId, start };
}

const nobody = { receiveAnswered() {}, receiveRefused() {} };

interface Rebuilt {
  readonly state: BrokerState;
  readonly replayed: ReturnType<typeof replay>;
  readonly countByType: ReadonlyMap<RecordType, number>;
  /** The first record that does not go with what was before it. */
  readonly fault: string | undefined;
}

/** Throws `StateImageError` for an image of another release, and `IndexDamage`. */
function rebuild(
  found: FoundSegments,
  from: (state: BrokerState) => number,
  durable: number,
  options: BrokerStateOptions,
  image: Buffer | undefined,
  known: readonly KnownDamage[],
): Rebuilt {
  const state = new BrokerState(new LogHandle(), nobody, options, image);
  const countByType = new Map<RecordType, number>();
  let fault: string | undefined;
  const visit = (record: LogRecord): void => {
    countByType.set(record.type, (countByType.get(record.type) ?? 0) + 1);
    if (fault !== undefined) return;
    try {
      state.replay(record);
    } catch (error) {
      if (!(error instanceof RecordFault)) throw error;
      fault =
        `the ${typeName(record.type)} record at log position ${record.position} does not go with the records before it ` +
        `(${error.message}), and nothing before it is lost: a start without a checkpoint behind it would end here`;
    }
  };
  const replayed = replay(found.live, from(state), durable, visit, state, known);
  state.replayed();
  if (fault === undefined) state.known();
  return { state, replayed, countByType, fault };
}

interface FoundLog {
  readonly found: FoundSegments;
  readonly begin: number;
  readonly durable: number;
  readonly known: readonly KnownDamage[];
}

/**
 * The checkpoint, the index it names and the log behind it must lead to the state that the whole log leads to (`digest`, if it
 * is whole).
 */
function compare(
  storage: Storage,
  { found, begin, durable, known }: FoundLog,
  options: BrokerStateOptions,
  { position, bytes }: { readonly position: number; readonly bytes: Buffer },
  digest: string | undefined,
): { readonly told: readonly string[]; readonly isOfOtherRelease: boolean } {
  const problems: string[] = [];
  const indexPages = new IndexFiles({ storage, randomness: new SeededRandomness(0), log: tellingLog(problems) });
  try {
    const from = (state: BrokerState) => state.replayFrom ?? begin;
    const { state, fault } = rebuild(found, from, durable, { ...options, indexPages }, bytes, known);
    if (fault !== undefined) problems.push(`from the checkpoint at position ${position}: ${fault}`);
    else if (digest !== undefined && digestOf(state) !== digest) {
      problems.push(
        `the checkpoint at position ${position} and the log lead to different states: move the directory checkpoint aside, ` +
          "and a start reads everything from the log",
      );
    }
  } catch (error) {
    if (error instanceof IndexDamage) {
      // The files tell of themselves; this is what they cannot know.
      problems.push(
        `the index of the checkpoint at position ${position} cannot be used: ${error.message}; nothing is lost`,
      );
    } else if (error instanceof StateImageVersionError) {
      const told = `the checkpoint at position ${position} is of another release: a start passes it over and reads the log`;
      return { told: [told], isOfOtherRelease: true };
    } else if (error instanceof StateImageError) {
      problems.push(
        `the checkpoint at position ${position} cannot be used (${error.message}); a start reads the log instead`,
      );
    } else throw error;
  } finally {
    indexPages.close();
  }
  return { told: problems, isOfOtherRelease: false };
}

function digestOf(state: BrokerState): string {
  return createHash("sha256").update(state.dump()).digest("hex");
}

function lossOf({ from, to, recordCount, path }: DamageRange, known: readonly KnownDamage[]): string {
  const records = recordCount === undefined ? "an unknown number of records" : `${recordCount} records`;
  const where = `${path}: positions ${from} to ${to}`;
  if (known.some((range) => range.from <= from && to <= range.to)) {
    return `${where}: ${records} are lost; an earlier start has gone on without them (damage.json)`;
  }
  return (
    `${where} cannot be read: ${records} are lost; restore the file from a copy, if there is one, before the broker starts: ` +
    "it goes on without them"
  );
}

/** What a start that reads the whole log makes of what is lost. */
function consequencesOf(state: BrokerState): string[] {
  const { messages, notes } = state.damageConsequences;
  return [
    ...messages.map(
      ({ topic, queueId, firstOffset, count }) =>
        `${topic}, queue ${queueId}: ${count} messages from offset ${firstOffset} on are lost`,
    ),
    ...Object.entries(notes).map(([note, count]) => `a consequence of what is lost, ${count} times: ${note}`),
  ];
}

function stateFacts(state: BrokerState): string[] {
  const topics = state.topics();
  const subscriptions = state.subscriptions();
  const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);
  return [
    `state: ${topics.length} topics, ${sum(topics.map(({ messages }) => messages))} messages in queues, ` +
      `${sum(topics.map(({ delayed }) => delayed))} that wait for their time, ` +
      `${sum(topics.map(({ openTransactions }) => openTransactions))} open transactions`,
    `groups: ${new Set(subscriptions.map(({ group }) => group)).size}, with ` +
      `${sum(subscriptions.map(({ inFlight }) => inFlight))} messages in flight and ` +
      `${sum(subscriptions.map(({ deadLetters }) => deadLetters))} dead letters`,
    ...laneFacts(subscriptions.flatMap(({ lanes = [] }) => lanes)),
  ];
}

function laneFacts(lanes: readonly LaneFigures[]): string[] {
  if (lanes.length === 0) return [];
  const spilled = lanes.filter(({ isSpilled }) => isSpilled).length;
  const closing = lanes.filter(({ isClosing }) => isClosing).length;
  return [`lanes: ${lanes.length} beside the base lanes, ${spilled} of them spilled, ${closing} about to end`];
}

const names = new Map<number, string>(Object.entries(RecordType).map(([name, type]) => [type, name]));

function typeName(type: RecordType): string {
  return names.get(type) ?? `type ${type}`;
}

function listOf(countByType: ReadonlyMap<RecordType, number>): string {
  return [...countByType].map(([type, count]) => `${typeName(type)} ${count}`).join(", ");
}
