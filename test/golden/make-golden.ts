import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { knownRecordTypes } from "../../broker-core/commit-log/log.ts";
import { isRecordHeader, readUint53, recordType } from "../../broker-core/commit-log/log-frame.ts";
import { segmentHeaderBytes } from "../../broker-core/commit-log/segment.ts";
import { release } from "../../proto/runtime/release.ts";
import { repositoryRoot } from "../support/running-process.ts";
import { waitUntil } from "../support/wait-until.ts";
import { viewBroker } from "./broker-view.ts";
import { GoldenBroker } from "./golden-broker.ts";
import { makeGoldenMesh } from "./golden-mesh.ts";
import { type GoldenDirectory, groupIdsOf } from "./golden-set.ts";
import { packTree } from "./packed-tree.ts";
import { playEpilogue, playScene, sceneGroups } from "./scene.ts";

/*
 * Makes the golden directories of the release that this source is of: `node dist/test/golden/make-golden.js`. Once: what a release
 * has written is what it has written. With a label, those of a state on the way to the next one, which is held to the same from then on:
 * `node dist/test/golden/make-golden.js lanes` writes test/golden/<release>+lanes.
 */

const [label = ""] = process.argv.slice(2);
if (!/^[a-z0-9-]*$/.test(label)) {
  process.stderr.write(`"${label}" is no label: small letters, digits and "-"\n`);
  process.exit(2);
}
const target = join(repositoryRoot, "test/golden", label === "" ? release : `${release}+${label}`);
if (existsSync(target)) {
  process.stderr.write(
    `${target} is there: golden directories are made once for each release and never again.\n` +
      'A test that fails on them has found a format that was changed; see CONTRIBUTING.md, "Formats on disk".\n',
  );
  process.exit(1);
}
const made = new Map<string, object>([
  ["stopped", await make("stopped")],
  ["killed", await make("killed")],
  ["mesh", await makeGoldenMesh()],
]);
// A kind of record that the scene does not bring about would be kept by nobody.
const types = new Set(["stopped", "killed"].flatMap((name) => recordTypesOf(made.get(name) as GoldenDirectory)));
for (const type of knownRecordTypes)
  assert.ok(types.has(type), `no record of type ${type}: give it a place in scene.ts`);
mkdirSync(target);
for (const [name, golden] of made)
  writeFileSync(join(target, `${name}.json`), `${JSON.stringify(golden, undefined, 1)}\n`);
// Consumers of the SDK leave timers behind.
process.exit(0);

/** Of the records in it; found by their headers, in whatever file of the log. */
function recordTypesOf({ files }: GoldenDirectory): number[] {
  return Object.entries(files)
    .filter(([path]) => path.endsWith(".log"))
    .flatMap(([, { gzip }]) => {
      const bytes = gunzipSync(Buffer.from(gzip, "base64"));
      const types: number[] = [];
      const nonce = bytes.readUInt32BE(12);
      const base = readUint53(bytes, 16);
      for (let at = segmentHeaderBytes; at < bytes.length; at++) {
        if (isRecordHeader(bytes, at, base + at - segmentHeaderBytes, nonce)) types.push(recordType(bytes, at));
      }
      return types;
    });
}

/** "killed": retention has removed the beginning of the log, and records lie behind the last checkpoint. */
async function make(kind: "stopped" | "killed"): Promise<GoldenDirectory> {
  const directory = mkdtempSync(join(tmpdir(), "popmesh-golden-"));
  const isTrimmed = kind === "killed";
  const bootId = `golden-${release}`;
  const wallMs = Date.now();
  const broker = await GoldenBroker.start(directory, { wallMs, bootId, retentionBytes: isTrimmed ? 320 * 1024 : 0 });
  const scene = await playScene(broker, isTrimmed ? directory : undefined);
  await waitUntil("the log is at rest, and no checkpoint is due", () => broker.isAtRest(directory), 30_000);
  await playEpilogue(broker, scene);
  const endMs = broker.clock.wallMs();
  const found = viewBroker(broker.broker.state, groupIdsOf(broker, sceneGroups));
  if (kind === "stopped") await broker.stop();
  else await broker.kill();
  const files = packTree(directory);
  rmSync(directory, { recursive: true, force: true });
  return { release, endMs: Math.ceil(endMs), givenOut: scene.givenOut, found, files };
}
