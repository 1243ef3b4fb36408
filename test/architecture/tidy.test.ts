import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { listFiles, readSources, repositoryRoot, topFolders } from "./source-tree.ts";

/** Root entries beside the fixed folders: files that tools expect, docs, and what is never committed. */
const rootAllowed = [
  ...topFolders,
  "docs",
  ".ci",
  ".git",
  ".gitignore",
  ".mocharc.extended.json",
  ".mocharc.in-one-process.json",
  ".mocharc.json",
  ".mocharc.nightly.json",
  ".npmrc",
  "CHANGELOG.md",
  "CONTRIBUTING.md",
  "LICENSE",
  "README.md",
  "biome.json",
  "build.mjs",
  "package-lock.json",
  "package.json",
  "tsconfig.json",
];
const rootIgnored = /^(node_modules|dist.*|\.popmesh|.*\.cpuprofile)$/;

const emptyNames = /(^|\/)(utils?|helpers?|common|types|misc|shared)(\.ts|\/)/;

describe("the repository", () => {
  const sources = readSources();

  it("holds at its root the fixed folders and the files tools expect, nothing else", () => {
    const extra = readdirSync(repositoryRoot).filter((name) => !rootAllowed.includes(name) && !rootIgnored.test(name));
    assert.deepEqual(extra, []);
  });

  it("names files after what they hold, in kebab-case", () => {
    const wrong = sources
      .map(({ path }) => path)
      .filter((path) => emptyNames.test(path) || !/^[a-z0-9.-]+\.ts$/.test(path.split("/").at(-1) ?? ""));
    assert.deepEqual(wrong, []);
  });

  it("keeps each source file to one idea: at most 500 lines", () => {
    const wrong = sources
      .filter(({ path }) => !path.startsWith("test/"))
      .map(({ path, text }) => ({ path, lines: text.split("\n").length }))
      .filter(({ lines }) => lines > 500)
      .map(({ path, lines }) => `${path}: ${lines}`);
    assert.deepEqual(wrong, []);
  });

  it("has no unfinished marks, silenced checks or tests left out", () => {
    const marks = /\b(TODO|FIXME|XXX|HACK)\b|@ts-(ignore|nocheck)|\b(it|describe)\.(skip|only)\(/;
    const wrong = sources
      .filter(({ path }) => path !== "test/architecture/tidy.test.ts")
      .flatMap(({ path, text }) =>
        text.split("\n").flatMap((line, i) => (marks.test(line) ? [`${path}:${i + 1}`] : [])),
      );
    assert.deepEqual(wrong, []);
  });

  it("has a README in every top-level folder", () => {
    const missing = topFolders.filter((folder) => !existsSync(join(repositoryRoot, folder, "README.md")));
    assert.deepEqual(missing, []);
  });

  it("names in those READMEs every folder below", () => {
    const missing = topFolders.flatMap((top) => {
      const text = readFileSync(join(repositoryRoot, top, "README.md"), "utf8");
      const below = readdirSync(join(repositoryRoot, top), { withFileTypes: true }).filter((entry) =>
        entry.isDirectory(),
      );
      return below.map(({ name }) => `${top}/${name}`).filter((path) => !named(text, path));
    });
    assert.deepEqual(missing, []);
  });

  it("names no registry and no download address in its lockfile", () => {
    const lock = readFileSync(join(repositoryRoot, "package-lock.json"), "utf8");
    assert.doesNotMatch(lock, /"resolved"|registry\./);
  });

  it("shows in its documents only files that exist", () => {
    const documents = [
      "README.md",
      "CONTRIBUTING.md",
      ...listFiles("docs"),
      ...topFolders.map((f) => `${f}/README.md`),
    ];
    const missing = documents.flatMap((document) => {
      const text = readFileSync(join(repositoryRoot, document), "utf8");
      const paths = [...text.matchAll(/`((?:proto|sidecar|control-plane|broker-core|examples|test|docs)\/[\w./-]+)`/g)];
      return paths
        .map(([, path = ""]) => path.replace(/\/$/, ""))
        .filter((path) => !path.startsWith("proto/gen") && !existsSync(join(repositoryRoot, path)))
        .map((path) => `${document}: ${path}`);
    });
    assert.deepEqual(missing, []);
  });

  it("names in its table of hazards only tests that there are", () => {
    const text = readFileSync(join(repositoryRoot, "docs/pop-hazards.md"), "utf8");
    const titles = [...text.matchAll(/"([^"]+)"/g)].map(([, title = ""]) => title);
    assert.ok(titles.length >= 45, `only ${titles.length} tests are named`);
    const tests = sources.filter(({ path }) => path.startsWith("test/")).map(({ text: code }) => code);
    assert.deepEqual(
      titles.filter((title) => !tests.some((code) => code.includes(`"${title}"`))),
      [],
    );
  });

  it("tells the life of a message by files that exist, in the order of the folders", () => {
    const text = readFileSync(join(repositoryRoot, "docs/life-of-a-message.md"), "utf8");
    const named = [...text.matchAll(/`([\w-]+\/[\w./-]+\.ts)`/g)].map(([, path = ""]) => path);
    assert.ok(named.length >= 20, `only ${named.length} files are named`);
    assert.deepEqual(
      named.filter((path) => !existsSync(join(repositoryRoot, path))),
      [],
    );
  });
});

/** As `sidecar/lane` or `lane`, with or without a slash behind it. */
function named(text: string, path: string): boolean {
  const name = path.slice(path.lastIndexOf("/") + 1);
  return [path, name].some((word) => text.includes(`\`${word}\``) || text.includes(`\`${word}/`));
}
