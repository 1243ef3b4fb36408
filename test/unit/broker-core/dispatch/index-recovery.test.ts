import assert from "node:assert/strict";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { IndexFiles, indexDirectory } from "../../../../broker-core/consume-queue/index-files.ts";
import { IndexDamage } from "../../../../broker-core/consume-queue/index-pages.ts";
import { messageId } from "../../../../broker-core/record/message-record.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { BrokerFixture, messageBytes } from "../../../support/broker-fixture.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";

/** A broker whose index is on a disk; each start is that of a process. */
class Setting {
  readonly disk = new SimulatedDisk();
  readonly randomness = new SeededRandomness(7);
  files!: IndexFiles;
  readonly f: BrokerFixture;
  readonly topics: number[];
  readonly group: number;
  /** What was sent and not acked: body by id. */
  readonly left = new Map<string, string>();

  constructor() {
    const newFiles = () => this.#newFiles();
    // A getter, so that each state gets files of its own.
    const options = {
      get indexPages() {
        return newFiles();
      },
      groupStart: "beginning" as const,
    };
    this.f = new BrokerFixture(options);
    this.group = this.f.group("ns/billing", { attemptsMax: 3 });
    this.topics = Array.from({ length: 6 }, (_, i) => this.f.topic(`ns/t${i}`, { queueCount: 1 + (i % 3) }));
  }

  #newFiles(): IndexFiles {
    this.files = new IndexFiles({
      ...{ storage: this.disk, randomness: this.randomness, log: silentLog },
      fileBytes: 7_000,
    });
    return this.files;
  }

  /** Messages of all kinds that the index knows: sent, committed, dead. */
  work(count: number): void {
    const { f, topics, group } = this;
    for (let i = 0; i < count; i++) {
      const topic = topics[i % topics.length]!;
      const body = `body ${f.log.recordCount}`;
      const options = { body, tag: `tag${i % 5}` };
      this.left.set(f.send(topic, options), body);
      if (i % 7 === 0) {
        const id = `half-${f.log.recordCount}`;
        const transaction = f.sendHalf(topic, { ...options, id });
        f.endOk(transaction, "COMMIT", { topic: `ns/t${i % topics.length}` });
        this.left.set(id, body);
      }
      if (i % 11 === 0) {
        const ids = [1, 2, 3].map((n) => `of-${f.log.recordCount}-${n}`);
        const messages = ids.map((id) => messageBytes({ id, ...options }));
        const sent = f.state.send({ topicId: topic, laneMark: "", bornHost: "", messages }, f.now);
        assert.ok(sent.ok);
        f.sync();
        for (const id of ids) this.left.set(id, body);
      }
      if (i % 5 !== 0) continue;
      const [got] = f.receive(topic, group, { batch: 1, clientId: "c" });
      if (got === undefined || i % 10 === 0) continue;
      f.ack(group, got.receipt);
      this.left.delete(got.id);
    }
    // Some die.
    for (let i = 0; i < 4; i++) f.pass(11_000);
  }

  async checkpoint(): Promise<Buffer> {
    const image = Buffer.from(this.f.state.snapshot());
    this.files.checkpointWritten(await this.files.sync());
    const files = this.disk.list(indexDirectory).length;
    assert.ok(files >= 4, `${files} files of the index`);
    return image;
  }

  /** The process dies and another starts from a checkpoint. */
  restart(image: Buffer): void {
    this.disk.kill();
    this.f.crash("kill", image);
  }

  /** A state from the log alone has the same bytes. */
  assertSameAsLog(): void {
    const { f } = this;
    f.advance();
    const live = f.state.dump();
    // Its index goes onto a disk of its own.
    const plain = new BrokerFixture(
      { groupStart: "beginning", bootId: f.bootId, start: { monotonicMs: 0, wallMs: 0 } },
      f.log,
    );
    plain.monotonicMs = f.monotonicMs;
    plain.wallMs = f.wallMs;
    plain.advance();
    assert.deepEqual(plain.state.dump(), live);
    f.log.onDurable = (position) => f.state.onDurable(position, f.now);
  }

  /** Every message that is left comes once, with its body. */
  consume(): void {
    const { f, group } = this;
    f.pass(3_600_000);
    const topics = [...this.topics, f.topic("ns/%DLQ%billing", { incarnation: 5 })];
    for (const topic of topics) {
      for (let got = f.receive(topic, group); got.length > 0; got = f.receive(topic, group)) {
        for (const { id, body, receipt } of got) {
          // A message that died is in both: acked in one, it is left in the other.
          assert.equal(body, this.left.get(id) ?? body, id);
          this.left.delete(id);
          f.ack(group, receipt);
        }
      }
    }
    assert.deepEqual([...this.left], []);
  }
}

describe("an index that was lost", () => {
  const hurts: Readonly<Record<string, (disk: SimulatedDisk, paths: string[]) => void>> = {
    "by the removal of a file": (disk, paths) => disk.remove(paths[1]!),
    "by the removal of all files": (disk, paths) => {
      for (const path of paths) disk.remove(path);
    },
    "by a file that was cut": (disk, paths) => disk.resize(paths[0]!, 500),
    "by a foreign header": (disk, paths) => disk.alter(paths[2]!, (bytes) => bytes.fill(7, 0, 64)),
  };

  for (const [how, hurt] of Object.entries(hurts)) {
    it(`${how} is read from the log, and the rest from the checkpoint`, async () => {
      const s = new Setting();
      s.work(600);
      const image = await s.checkpoint();
      s.work(100);
      hurt(
        s.disk,
        s.disk.list(indexDirectory).map((name) => `${indexDirectory}/${name}`),
      );
      s.restart(image);
      s.assertSameAsLog();
      s.consume();
    });
  }

  it("with messages that the log has lost, too: their offsets stay taken, and all others come", () => {
    const s = new Setting();
    const { f } = s;
    // Also the first and the last of their queues.
    s.work(600);
    const counts = () => f.state.topics().map(({ name, messages }) => [name, messages]);
    const image = Buffer.from(f.state.snapshot());
    const before = counts();
    const alone = [...s.left].filter(([id]) => !/^(of|half)-/.test(id));
    const lost = [alone[0]!, alone[alone.length >> 1]!, alone[(alone.length >> 1) + 1]!, alone.at(-1)!];
    const { recordCount } = f.log;
    for (const [id, body] of lost) {
      // Field 4 of the message.
      const field = Buffer.from([0x22, body.length, ...Buffer.from(body)]);
      // A record is good until the next is read.
      for (const record of f.log.records()) {
        if (!record.body.includes(field)) continue;
        f.log.lose(record.position);
        break;
      }
      s.left.delete(id);
    }
    assert.equal(f.log.recordCount, recordCount - lost.length);
    for (const name of s.disk.list(indexDirectory)) s.disk.remove(`${indexDirectory}/${name}`);
    s.restart(image);
    assert.deepEqual(counts(), before);
    // What is lost takes its attempts and dies, like any message whose bytes are damaged.
    for (let round = 0; round < 6; round++) {
      f.pass(3_600_000);
      for (const topic of [...s.topics, f.topic("ns/%DLQ%billing", { incarnation: 5 })]) {
        for (let i = 0; i < 50; i++) {
          for (const { id, body, receipt } of f.receive(topic, s.group)) {
            assert.equal(body, s.left.get(id) ?? body, id);
            s.left.delete(id);
            f.ack(s.group, receipt);
          }
        }
      }
    }
    assert.deepEqual([...s.left], []);
  });

  it("is not read from the log when nothing is wrong with it", async () => {
    const s = new Setting();
    s.work(600);
    const image = await s.checkpoint();
    s.work(100);
    let reads = s.f.log.readCount;
    s.restart(image);
    reads = s.f.log.readCount - reads;
    assert.ok(reads > 0 && reads < s.f.log.recordCount / 2, `${reads} of ${s.f.log.recordCount} records were read`);
    s.assertSameAsLog();
    s.consume();
  });

  it("ends the process when a block turns out damaged, and the next start reads it from the log", async () => {
    const s = new Setting();
    s.work(600);
    const image = await s.checkpoint();
    const paths = s.disk.list(indexDirectory).map((name) => `${indexDirectory}/${name}`);
    // One bit in the middle of each, behind the header.
    for (const path of paths) s.disk.alter(path, (bytes) => void (bytes[200]! ^= 1));
    // A reader comes to a damaged block, with the image or after it.
    let starts = 0;
    for (let isWhole = false; !isWhole; starts++) {
      assert.ok(starts < 3, "the damage is met again and again");
      try {
        s.restart(image);
        s.f.state.dump();
        isWhole = true;
      } catch (error) {
        assert.ok(error instanceof IndexDamage, String(error));
      }
    }
    assert.equal(starts, 2);
    s.assertSameAsLog();
    s.consume();
  });

  it("is read from a log with lost records, too: what is left has its places, and what is lost keeps its offsets", async () => {
    const s = new Setting();
    s.work(1_500);
    const image = await s.checkpoint();
    for (const name of s.disk.list(indexDirectory)) s.disk.remove(`${indexDirectory}/${name}`);
    const messages = Array.from(s.f.log.records(), ({ type, position }) => ({ type, position })).filter(
      ({ type }) => type === RecordType.Message,
    );
    for (let i = 3; i < messages.length; i += 40) {
      const { position } = messages[i]!;
      s.left.delete(messageId(s.f.log.read(position).body, 0));
      s.f.lost.add(position);
      s.f.log.damaged.add(position);
    }
    const ends = () => s.f.state.topics().map(({ name, messages: count }) => [name, count]);
    const before = ends();
    s.restart(image);
    assert.deepEqual(ends(), before, "no offset is given out again");
    s.f.knownFrom = s.f.log.endPosition;
    s.consume();
  });
});
