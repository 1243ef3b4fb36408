import assert from "node:assert/strict";
import { findCheckpoint } from "../../broker-core/checkpoint/checkpoint-store.ts";
import { Checkpointer } from "../../broker-core/checkpoint/checkpointer.ts";
import type { CommitLog } from "../../broker-core/commit-log/commit-log.ts";
import { RecordType } from "../../broker-core/commit-log/log.ts";
import { openCommitLog } from "../../broker-core/commit-log/open-commit-log.ts";
import { ConsumeQueueTable } from "../../broker-core/consume-queue/consume-queue-table.ts";
import { IndexFiles } from "../../broker-core/consume-queue/index-files.ts";
import { ImageReader, ImageWriter } from "../../broker-core/dispatch/image-bytes.ts";
import { silentLog } from "../../proto/runtime/log.ts";
import { randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { ManualClock, settle } from "./manual-clock.ts";
import { ProcessDisk } from "./process-disk.ts";
import { SimulatedDisk } from "./simulated-disk.ts";

/*
 * Crash cycles of an index that is derived from a log: real log, real index on disk, real checkpoints of it, on a disk whose syncs
 * take their time and which loses power, most willingly when a checkpoint has just been written. What a start takes from a
 * checkpoint and the log must be what the log alone says (B11): not ahead of it, not behind, and no offset twice (B3).
 */
export interface CheckpointRunCounts {
  starts: number;
  fromCheckpoint: number;
  /** Starts whose index was not what the checkpoint names, so that it came from the log. */
  fromLog: number;
  checkpoints: number;
  crashes: number;
  /** Records that a power cut took. */
  taken: number;
}

const queueCount = 4;
const headBytes = 5;

export async function runCheckpointCrashes(seed: number, cycles: number): Promise<CheckpointRunCounts> {
  const counts = { starts: 0, fromCheckpoint: 0, fromLog: 0, checkpoints: 0, crashes: 0, taken: 0 };
  for (let life = 0; counts.starts < cycles; life++) {
    const run = new Life((seed + Math.imul(life, 0x9e3779b1)) >>> 0, counts);
    try {
      for (let i = 0; i < 20 && counts.starts < cycles; i++) await run.cycle();
    } catch (error) {
      if (error instanceof Error)
        error.message += `\n(POPMESH_TEST_SEED=${seed}, life ${life}, start ${counts.starts})`;
      throw error;
    }
  }
  return counts;
}

/** An entry of the index as a record of the log says it. */
interface Entry {
  readonly queue: number;
  readonly offset: number;
  readonly position: number;
}

class Life {
  readonly #randomness: SeededRandomness;
  readonly #counts: CheckpointRunCounts;
  readonly #disk = new SimulatedDisk();
  #clock = new ManualClock();
  #appended = 0;

  constructor(seed: number, counts: CheckpointRunCounts) {
    this.#randomness = new SeededRandomness(seed);
    this.#counts = counts;
  }

  async cycle(): Promise<void> {
    this.#clock = new ManualClock({ monotonicMs: this.#clock.monotonicMs() });
    this.#disk.clock = this.#clock;
    this.#disk.syncDelayMs = undefined;
    const { table, files, log, position } = await this.#start();
    this.#counts.starts++;
    // Now and then a single sync takes as long as the next checkpoint is away.
    this.#disk.syncDelayMs = () => randomIndex(this.#randomness, this.#chance(0.25) ? 1_500 : 5);
    const checkpointer = new Checkpointer(
      {
        appliedPosition: () => log.endPosition,
        snapshot: () => {
          const image = new ImageWriter();
          table.writeTo(image, "whole");
          return image.bytes();
        },
        syncedPosition: () => log.syncedPosition,
        index: files,
      },
      {
        storage: new ProcessDisk(this.#disk),
        clock: this.#clock,
        log: silentLog,
        everyBytes: 4_096,
        lastPosition: position,
      },
    );
    let last = checkpointer.lastPosition;
    for (let steps = 10 + randomIndex(this.#randomness, 40); steps > 0; steps--) {
      for (let i = randomIndex(this.#randomness, 6); i > 0 && log.takesMessages; i--) this.#append(log, table);
      await this.#clock.advanceAndSettle(randomIndex(this.#randomness, 200));
      if (checkpointer.lastPosition === last) continue;
      last = checkpointer.lastPosition;
      this.#counts.checkpoints++;
      if (this.#chance(0.5)) break;
    }
    const end = log.endPosition;
    log.abandon();
    void checkpointer.stop();
    if (this.#chance(0.3)) {
      this.#disk.kill();
      return;
    }
    this.#disk.crash(this.#randomness);
    this.#counts.crashes++;
    if (log.syncedPosition < end) this.#counts.taken++;
  }

  async #start() {
    const files = new IndexFiles({
      ...{ storage: new ProcessDisk(this.#disk), randomness: this.#randomness, log: silentLog },
      fileBytes: 16_000,
    });
    // Hardly any memory, so that most of it is on disk.
    const table = new ConsumeQueueTable(files, 0);
    const { newest: checkpoint, tidy } = findCheckpoint(this.#disk, silentLog);
    await tidy();
    if (checkpoint === undefined) {
      table.clearPages();
      for (let queue = 0; queue < queueCount; queue++) table.add(1 + queue, 0);
    } else {
      table.readFrom(new ImageReader(checkpoint.bytes));
      this.#counts.fromCheckpoint++;
    }
    const position = checkpoint?.position ?? 0;
    const { isLost } = table;
    if (isLost) this.#counts.fromLog++;
    let isRecovering = isLost;
    const recovered = (): void => {
      if (isRecovering) table.recovered(position);
      isRecovering = false;
    };
    if (isLost) table.recoverFrom(0);
    const opened = await openLog(
      this.#disk,
      this.#clock,
      this.#randomness,
      isLost ? undefined : position,
      position,
      (e) => {
        if (e.position < position) table.recover(e.queue, e.offset, e.position, 0, 0, 0, 0, 0);
        else {
          recovered();
          appendEntry(table, e);
        }
      },
    );
    recovered();
    table.showAll();
    await this.#compare(table, position);
    return { table, files, log: opened, position };
  }

  /** With what the log alone says. */
  async #compare(table: ConsumeQueueTable, position: number): Promise<void> {
    const entries: Entry[] = [];
    const copy = this.#disk.copy();
    const log = await openLog(copy, new ManualClock(), new SeededRandomness(1), undefined, 0, (entry) =>
      entries.push(entry),
    );
    log.abandon();
    assert.ok(position <= log.endPosition, `a checkpoint at ${position}, and the log ends at ${log.endPosition}`);
    for (let queue = 0; queue < queueCount; queue++) {
      const expected = entries.filter((entry) => entry.queue === queue);
      assert.equal(table.endOffset(queue), expected.length, `queue ${queue} ends elsewhere than in the log`);
      for (const { offset, position: at } of expected) {
        assert.equal(table.position(table.entry(queue, offset)), at, `queue ${queue}, offset ${offset}`);
      }
    }
  }

  #append(log: CommitLog, table: ConsumeQueueTable): void {
    const length = headBytes + randomIndex(this.#randomness, 500);
    const queue = this.#appended++ % queueCount;
    const offset = table.endOffset(queue);
    const position = log.append(RecordType.Message, length, (into, at) => {
      into.fill(0, at, at + length);
      into[at] = queue;
      into.writeUInt32BE(offset, at + 1);
    });
    log.whenDurable(position, () => {});
    appendEntry(table, { queue, offset, position });
  }

  #chance(fraction: number): boolean {
    return this.#randomness.fraction() < fraction;
  }
}

async function openLog(
  disk: SimulatedDisk,
  clock: ManualClock,
  randomness: SeededRandomness,
  from: number | undefined,
  durable: number,
  visit: (entry: Entry) => void,
): Promise<CommitLog> {
  const { log, recovery } = await openCommitLog({
    ...{ storage: disk, clock, randomness, log: silentLog, segmentBytes: 32 * 1024, from, durable },
    visit: ({ position, body }) => visit({ queue: body[0]!, offset: body.readUInt32BE(1), position }),
    onFailure: (error) => assert.fail(error.message),
  });
  assert.deepEqual(recovery.damage, []);
  await settle();
  return log;
}

function appendEntry(table: ConsumeQueueTable, { queue, offset, position }: Entry): void {
  assert.equal(offset, table.endOffset(queue), `queue ${queue}: the record at ${position} has another offset`);
  table.append(queue, position, 0, 0, 0, 0, 0);
}
