import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { repositoryRoot } from "../support/running-process.ts";
import type { BrokerView } from "./broker-view.ts";
import type { GoldenBroker } from "./golden-broker.ts";
import { type PackedTree, unpackTree } from "./packed-tree.ts";
import type { GivenOut } from "./scene.ts";

/** A broker's data directory as a release has left it, and what is in it. */
export interface GoldenDirectory {
  readonly release: string;
  /** Wall clock of its last record. */
  readonly endMs: number;
  readonly givenOut: GivenOut;
  readonly found: BrokerView;
  readonly files: PackedTree;
}

const folder = join(repositoryRoot, "test/golden");

/** The releases whose directories are kept, the oldest first. */
export function goldenReleases(): string[] {
  return readdirSync(folder)
    .filter((name) => /^\d+\.\d+\.\d+/.test(name))
    .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
}

export function readGolden(release: string, name: string): GoldenDirectory {
  return JSON.parse(readFileSync(join(folder, release, `${name}.json`), "utf8")) as GoldenDirectory;
}

/** A copy to work on, in a directory of its own, without the paths that `leftOut` matches. */
export function unpackGolden({ files }: GoldenDirectory, leftOut?: RegExp): string {
  const directory = mkdtempSync(join(tmpdir(), "popmesh-golden-"));
  unpackTree(Object.fromEntries(Object.entries(files).filter(([path]) => leftOut?.test(path) !== true)), directory);
  return directory;
}

/** The numbers that a broker has given to groups which it knows. */
export function groupIdsOf({ broker, clock }: GoldenBroker, names: readonly string[]): ReadonlyMap<string, number> {
  const now = { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
  const backoff = { delaysMs: [], initialMs: 0, maxMs: 0, multiplier: 0 };
  return new Map(
    names.map((name) => {
      // Generation 0 changes nothing of a group that is known.
      const opened = broker.state.openGroup({ name, generation: 0, attemptsMax: 0, inflightMax: 0, backoff }, now);
      if (!opened.ok) throw new Error(opened.message);
      return [name, opened.id];
    }),
  );
}
