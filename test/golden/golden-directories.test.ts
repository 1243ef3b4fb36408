import assert from "node:assert/strict";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { BrokerState } from "../../broker-core/broker-state.ts";
import { knowsStateImageVersion, stateImageVersion } from "../../broker-core/dispatch/state-image.ts";
import { NodeStorage } from "../../broker-core/index.ts";
import { LogHandle } from "../../broker-core/log-handle.ts";
import { readBase } from "../../broker-core/retention/base-image-store.ts";
import { Code } from "../../proto/code.ts";
import { compiledRoot, RunningProcess } from "../support/running-process.ts";
import { groupRef, messageIdOf, UpstreamClient } from "../support/upstream-client.ts";
import { viewBroker } from "./broker-view.ts";
import { GoldenBroker } from "./golden-broker.ts";
import { type GoldenDirectory, goldenReleases, groupIdsOf, readGolden, unpackGolden } from "./golden-set.ts";
import { laterMs, sceneGroups, sceneTopics } from "./scene.ts";

const bootId = "another-boot";
const caches = /^(checkpoint|index|look-up)\//;

/** What a start of today's broker makes of a copy, without what `leftOut` matches. */
async function opened<T>(
  golden: GoldenDirectory,
  leftOut: RegExp | undefined,
  look: (broker: GoldenBroker, directory: string) => T | Promise<T>,
  afterMs = 1_000,
): Promise<T> {
  const directory = unpackGolden(golden, leftOut);
  try {
    const broker = await GoldenBroker.start(directory, { wallMs: golden.endMs + afterMs, bootId });
    try {
      return await look(broker, directory);
    } finally {
      await broker.kill();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

for (const release of goldenReleases()) {
  for (const name of ["stopped", "killed"]) {
    describe(`what a ${name} broker of release ${release} has left (T26)`, function () {
      this.timeout(30_000);
      const golden = readGolden(release, name);

      for (const [what, leftOut] of [
        ["as it is", undefined],
        ["without its caches", caches],
        ["without its index", /^index\//],
        ["without its checkpoints and hints", /^checkpoint\/|durable\.mark$|\.spare$/],
      ] as const) {
        it(`is found whole ${what}: each message, position, lease and what waits`, async () => {
          await opened(golden, leftOut, (broker, directory) => {
            const found = viewBroker(broker.broker.state, groupIdsOf(broker, sceneGroups));
            assert.deepEqual(found, golden.found);
            assert.ok(!readdirSync(directory).includes("damage.json"), "damage is reported where there is none");
          });
        });
      }

      it("is sound, by `popmesh broker check`, and its checkpoint and its log lead to one state", async () => {
        const directory = unpackGolden(golden);
        const check = RunningProcess.node(join(compiledRoot, "broker-core/main.js"), [
          "check",
          "--data-dir",
          directory,
        ]);
        assert.equal(await check.exited(), 0, check.output);
        assert.match(check.output, /: sound\n/);
        rmSync(directory, { recursive: true, force: true });
      });

      it("keeps what the old process has promised: receipts, recall handles, transaction ids", async () => {
        const { givenOut } = golden;
        await opened(golden, undefined, async ({ client, broker }) => {
          const ackCode = async ({ group, receipt }: { group: string; receipt: string }) => {
            const [code] = UpstreamClient.codes(await client.ack(groupRef(group.slice("default/".length)), receipt));
            return code;
          };
          const inFlight = () => broker.state.subscriptions().reduce((sum, figures) => sum + figures.inFlight, 0);
          const before = inFlight();
          for (const gone of givenOut.void) assert.equal(await ackCode(gone), Code.InvalidReceiptHandle);
          for (const held of givenOut.held) assert.equal(await ackCode(held), Code.Ok, `the ack of ${held.id}`);
          assert.equal(inFlight(), before - givenOut.held.length);
          for (const acked of givenOut.acked) assert.equal(await ackCode(acked), Code.Ok, "an ack that is repeated");
          const { alarms, transfers } = sceneTopics;
          for (const handle of [...givenOut.recallable, ...givenOut.recalled]) {
            const recalled = await client.recall(alarms, handle);
            assert.ok(recalled.ok, recalled.ok ? "" : recalled.message);
          }
          const end = async (id: string, how: "COMMIT" | "ROLLBACK") => client.endTransaction(transfers, id, how);
          for (const id of givenOut.openTransactions) assert.ok((await end(id, "COMMIT")).ok);
          for (const id of givenOut.committed) assert.ok((await end(id, "COMMIT")).ok);
          for (const id of givenOut.rolledBack) {
            const refused = await end(id, "COMMIT");
            assert.ok(!refused.ok && refused.code === Code.BadRequest);
          }
        });
      });

      it("goes on: what waits comes when its time has come, and a new group gets all there is, once", async () => {
        const look = async ({ client, broker }: GoldenBroker) => {
          const late = groupRef("late");
          const { plain, alarms, watched, shadow } = sceneTopics;
          const got: string[] = [];
          for (const topic of [plain, alarms, watched, shadow]) {
            for (;;) {
              const taken = await client.take(topic, late, { batch: 32, waitMs: 300 });
              if (taken.length === 0) break;
              await client.ack(late, ...taken.map(({ receipt }) => receipt));
              got.push(...taken.map((delivery) => `${topic.name} ${messageIdOf(delivery)}`));
            }
          }
          const waitingIn = (name?: string) =>
            golden.found.topics
              .filter((topic) => name === undefined || topic.name === name)
              .reduce((sum, { delayed }) => sum + delayed, 0);
          // Of what is watched a copy comes with each.
          const waiting = waitingIn() + waitingIn(watched.name);
          assert.ok(waiting >= 2 && broker.state.topics().every(({ delayed }) => delayed === 0));
          for (const { topic, id } of golden.givenOut.later)
            assert.ok(got.includes(`${topic} ${id}`), `${id} never came`);
          const read = [plain, alarms, watched, shadow].map(({ name }) => name);
          const inQueues = golden.found.queues
            .filter(({ topic }) => read.includes(topic))
            .flatMap(({ topic, messages }) => messages.map(([, id]) => `${topic} ${id}`));
          for (const id of inQueues) assert.ok(got.includes(id), `${id} never came`);
          assert.equal(new Set(got).size, got.length, "a message came twice");
          assert.equal(got.length, inQueues.length + waiting);
        };
        await opened(golden, undefined, look, laterMs + 1_000);
      });
    });
  }

  describe(`a base image of release ${release} (T26)`, () => {
    it("is written by this release as it was by that one, or has another version", () => {
      const golden = readGolden(release, "killed");
      const directory = unpackGolden(golden);
      const storage = new NodeStorage(directory, bootId);
      const [file] = Object.keys(golden.files).filter((path) => path.startsWith("base/"));
      const position = Number(/\d{20}/.exec(file!)?.[0]);
      const image = readBase(storage, position) ?? assert.fail("no base image");
      const version = stateImageVersion(image) ?? assert.fail("no state image");
      assert.ok(knowsStateImageVersion(version), "base images of every release must be readable for ever");
      const nobody = { receiveAnswered() {}, receiveRefused() {} };
      const identity = { brokerName: "broker-a", receiptKey: Buffer.alloc(32), runId: 0 };
      const start = { monotonicMs: 0, wallMs: golden.endMs };
      const options = { ...identity, bootId: `golden-${golden.release}`, start };
      const state = new BrokerState(new LogHandle(), nobody, options, image);
      const again = state.baseImage(position);
      assert.ok(
        stateImageVersion(again) !== version || again.equals(image),
        `the layout has changed and is still called version ${version}`,
      );
      rmSync(directory, { recursive: true, force: true });
    });
  });
}

describe("the golden directories", () => {
  it("are there for the first release, and for the state with lanes that came after it", () => {
    for (const release of ["0.1.0", "0.1.0+lanes"]) assert.ok(goldenReleases().includes(release), release);
  });
});
