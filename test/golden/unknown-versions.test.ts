import assert from "node:assert/strict";
import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkCommand } from "../../broker-core/check/check-command.ts";
import { crc32 } from "../../broker-core/commit-log/crc32.ts";
import { LogFormatError } from "../../broker-core/commit-log/log-format-error.ts";
import { namingRelease } from "../../broker-core/directory-release.ts";
import { DataDirectoryError } from "../../broker-core/identity.ts";
import { NodeStorage } from "../../broker-core/index.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { compiledRoot, RunningProcess } from "../support/running-process.ts";
import { testBrokerName } from "../support/start-broker.ts";
import { viewBroker } from "./broker-view.ts";
import { GoldenBroker } from "./golden-broker.ts";
import { groupIdsOf, readGolden, unpackGolden } from "./golden-set.ts";
import { digestTree } from "./packed-tree.ts";
import { sceneGroups } from "./scene.ts";

const golden = readGolden("0.1.0", "killed");
const main = join(compiledRoot, "broker-core/main.js");
const flags = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--control-plane", "", "--name", testBrokerName];

/** Changes bytes of every file of a directory, as whoever wrote them would have. */
function rewrite(directory: string, pattern: RegExp, change: (bytes: Buffer) => void): void {
  const names = (readdirSync(directory, { recursive: true }) as string[]).filter((name) => pattern.test(name));
  assert.ok(names.length > 0, `nothing matches ${pattern}`);
  for (const name of names) {
    const bytes = readFileSync(join(directory, name));
    change(bytes);
    writeFileSync(join(directory, name), bytes);
  }
}

/** The last frame with this magic in a file of the log. */
function lastFrame(bytes: Buffer, magic: number): number {
  const needle = Buffer.alloc(4);
  needle.writeUInt32BE(magic);
  return bytes.lastIndexOf(needle);
}

const segments = /^log\/\d{20}\.log$/;
/** The one that the end of the log lies in: only what is behind the checkpoint is read at a start. */
const lastSegment = new RegExp(
  `^${Object.keys(golden.files)
    .filter((path) => segments.test(path))
    .at(-2)!
    .replace(".", "\\.")}$`,
);

function asVersion2(bytes: Buffer, crcAt: number): void {
  bytes.writeUInt32BE(2, 4);
  bytes.writeUInt32BE(crc32(bytes, 0, crcAt), crcAt);
}

function giveLastRecordType(type: number): (directory: string) => void {
  return (directory) =>
    rewrite(directory, lastSegment, (bytes) => {
      const at = lastFrame(bytes, 0xf1504d72);
      bytes.writeUInt16BE(type, at + 16);
      bytes.writeUInt32BE(crc32(bytes, at, at + 24, bytes.readUInt32BE(12)), at + 24);
    });
}

const unknown: readonly (readonly [string, RegExp, (directory: string) => void])[] = [
  ["a directory of another format", /format "2"; this release knows 1/, (d) => writeFileSync(join(d, "format"), "2\n")],
  [
    "a log of a newer format",
    /the log has format 2; this release knows 1/,
    (d) =>
      rewrite(d, lastSegment, (bytes) => {
        for (const at of [0, 512]) {
          bytes.writeUInt16BE(2, at + 4);
          bytes.writeUInt32BE(crc32(bytes, at, at + 52), at + 52);
        }
      }),
  ],
  [
    "a batch of a newer format in a log of this one",
    /the batch at log position \d+ has format 2/,
    (d) =>
      rewrite(d, lastSegment, (bytes) => {
        const at = lastFrame(bytes, 0xf1504d62);
        bytes.writeUInt16BE(2, at + 4);
        bytes.writeUInt32BE(crc32(bytes, at, at + 52), at + 52);
      }),
  ],
  ["a record of a type that has no number yet", /record of type 99 .* is unknown/, giveLastRecordType(99)],
  [
    "base images of a newer format",
    /base\/\d{20}\.a has format 2; this release knows 1/,
    (d) => rewrite(d, /^base\//, (bytes) => asVersion2(bytes, 36)),
  ],
  [
    "base images that hold a newer state",
    /base\/\d{20}\.a holds a state of version \d+, which this release does not know/,
    (d) => rewrite(d, /^base\//, writeNewerState),
  ],
];

function writeNewerState(bytes: Buffer): void {
  bytes.writeUInt16LE(bytes.readUInt16LE(44) + 100, 44);
  bytes.writeUInt32BE(crc32(bytes, 40, bytes.length), 32);
  bytes.writeUInt32BE(crc32(bytes, 0, 36), 36);
}

describe("a data directory of a release that this one does not know (T26)", function () {
  this.timeout(30_000);

  for (const [what, message, change] of unknown) {
    it(`is refused for ${what}, and nothing in it is changed`, async () => {
      const directory = unpackGolden(golden);
      change(directory);
      // What a process that died has left is not tidied up either.
      writeFileSync(join(directory, "log/00000000000009999999.log.tmp"), "a draft");
      writeFileSync(join(directory, "checkpoint/00000000000009999999.ckpt"), "unreadable");
      writeFileSync(join(directory, "index/00000000000009999999.idx"), "ahead of the checkpoint");
      appendFileSync(join(directory, "index/00000000000000000000.idx"), "ahead of the checkpoint");
      writeFileSync(join(directory, "release"), "0.2.0\n");
      const before = digestTree(directory);
      for (const refused of [await refusalOfStart(directory), await refusalOfCheck(directory)]) {
        assert.match(refused, message);
        assert.match(refused, /This is popmesh [\d.]+; use popmesh 0\.2\.0, which wrote to it last, or a newer one/);
      }
      assert.deepEqual(digestTree(directory), before);
      rmSync(directory, { recursive: true, force: true });
    });
  }

  it("ends the process with code 78, that of the broker and that of the check", async () => {
    const directory = unpackGolden(golden);
    giveLastRecordType(99)(directory);
    const before = digestTree(directory);
    for (const argv of [
      ["--data-dir", directory, ...flags],
      ["check", "--data-dir", directory],
    ]) {
      const broker = RunningProcess.node(main, argv);
      assert.equal(await broker.exited(), 78, broker.output);
      assert.match(broker.output, /record of type 99 .* use the release that wrote it, or a newer one/);
    }
    assert.deepEqual(digestTree(directory), before);
    rmSync(directory, { recursive: true, force: true });
  });

  for (const [what, message, change] of [
    ["of another broker", /belongs to broker "broker-z"/, (d: string) => renamed(d)],
    [
      "that cannot be read",
      /the file "identity" .* cannot be read/,
      (d: string) => writeFileSync(join(d, "identity"), "{"),
    ],
    ["that is gone", /a log but no file "identity"/, (d: string) => rmSync(join(d, "identity"))],
  ] as const) {
    it(`is refused for an identity ${what}, and nothing in it is changed`, async () => {
      const directory = unpackGolden(golden);
      change(directory);
      const before = digestTree(directory);
      assert.match(await refusalOfStart(directory), message);
      assert.deepEqual(digestTree(directory), before);
      rmSync(directory, { recursive: true, force: true });
    });
  }

  for (const [what, change] of [
    ["checkpoints of a newer format", (d: string) => rewrite(d, /^checkpoint\//, (bytes) => asVersion2(bytes, 28))],
    ["checkpoints that hold a newer state", (d: string) => rewrite(d, /^checkpoint\//, newerCheckpoint)],
    ["an index of a newer format", (d: string) => rewrite(d, /^index\//, (bytes) => asVersion2(bytes, 20))],
    ["a mark of a newer format", (d: string) => rewrite(d, /durable\.mark$/, (bytes) => bytes.fill(0xee))],
  ] as const) {
    it(`is served from its log where it has ${what}: that is a cache, or a hint`, async () => {
      const directory = unpackGolden(golden);
      change(directory);
      if (what.startsWith("checkpoints")) {
        const { text, exitCode } = await check(directory);
        assert.equal(exitCode, 0, text);
        assert.match(text, /is of another release: a start passes it over and reads the log/);
      }
      const broker = await GoldenBroker.start(directory, { wallMs: golden.endMs + 1_000, bootId: "another-boot" });
      assert.deepEqual(viewBroker(broker.broker.state, groupIdsOf(broker, sceneGroups)), golden.found);
      await broker.kill();
      if (what.startsWith("checkpoints")) {
        for (const path of Object.keys(golden.files).filter((name) => name.startsWith("checkpoint/"))) {
          assert.ok(existsSync(join(directory, path)), `${path} is gone; the release that wrote it could use it`);
        }
      }
      rmSync(directory, { recursive: true, force: true });
    });
  }
});

const clock = new NodeClock();

async function check(directory: string): ReturnType<typeof checkCommand> {
  return checkCommand(new NodeStorage(directory, clock.bootId, false), clock, directory);
}

/** With which a start ends. It has to be one of those that make code 78. */
async function refusalOfStart(directory: string): Promise<string> {
  try {
    await (await GoldenBroker.start(directory, { wallMs: golden.endMs + 1_000, bootId: "another-boot" })).kill();
  } catch (error) {
    const named = namingRelease(new NodeStorage(directory, clock.bootId), error);
    assert.ok(named instanceof DataDirectoryError || named instanceof LogFormatError, String(error));
    return named.message;
  }
  return assert.fail("the broker has started");
}

async function refusalOfCheck(directory: string): Promise<string> {
  try {
    return assert.fail((await check(directory)).text);
  } catch (error) {
    assert.ok(error instanceof DataDirectoryError || error instanceof LogFormatError, String(error));
    return error.message;
  }
}

function renamed(directory: string): void {
  const path = join(directory, "identity");
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), brokerName: "broker-z" }));
}

function newerCheckpoint(bytes: Buffer): void {
  bytes.writeUInt16LE(bytes.readUInt16LE(36) + 100, 36);
  bytes.writeUInt32BE(crc32(bytes, 32, bytes.length), 24);
  bytes.writeUInt32BE(crc32(bytes, 0, 28), 28);
}
