import assert from "node:assert/strict";
import { importsOf, readSources, runtimeImportsOf, type SourceFile } from "./source-tree.ts";

/** Who may import whom: the three parts meet on the wire only. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  proto: [],
  "broker-core": ["proto"],
  "control-plane": ["proto"],
  sidecar: ["proto"],
  examples: ["proto", "broker-core", "control-plane", "sidecar"],
  test: ["proto", "broker-core", "control-plane", "sidecar", "examples"],
};

/** Inside a part: which folders a folder may import (its own always). The wiring files at the part's root may import all. */
const mayImportInside: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  sidecar: {
    "listener/http2": [],
    upstream: [],
    lane: [],
    limit: [],
    // What a route finds is a topic and a group as the upstream port wants them.
    route: ["lane", "upstream"],
    cluster: ["upstream"],
    filter: ["route", "lane", "limit", "cluster", "upstream"],
    listener: ["listener/http2", "filter", "route", "lane", "limit", "cluster", "upstream"],
    // It fills the tables of these stages and answers the router's question for what is missing.
    xds: ["route", "lane", "limit", "cluster", "upstream", "filter"],
    admin: ["listener", "filter", "route", "lane", "limit", "cluster", "upstream", "xds"],
  },
  "broker-core": {
    storage: [],
    "commit-log": ["storage"],
    checkpoint: ["storage", "commit-log"],
    record: ["commit-log"],
    filter: ["commit-log", "consume-queue", "record", "storage"],
    service: ["append", "pop", "topic", "commit-log", "record", "dead-letter", "consume-queue", "dispatch"],
    registration: [],
  },
};

describe("the direction of dependencies", () => {
  const sources = readSources();

  it("leads from the parts to proto, and never from part to part", () => {
    const wrong = sources.flatMap((file) => {
      const from = top(file.path);
      return importsOf(file)
        .filter((target) => target.endsWith(".ts") || target.endsWith(".js"))
        .filter((target) => !target.startsWith("#") && top(target) in mayImport)
        .filter((target) => top(target) !== from && !mayImport[from]?.includes(top(target)))
        .map((target) => `${file.path} -> ${target}`);
    });
    assert.deepEqual(wrong, []);
  });

  it("follows the path of a message inside a part", () => {
    const wrong: string[] = [];
    for (const file of sources) {
      const rules = mayImportInside[top(file.path)];
      const from = rules && folderInside(file.path, rules);
      if (rules === undefined || from === undefined) continue;
      for (const target of importsOf(file)) {
        if (top(target) !== top(file.path)) continue;
        const to = folderInside(target, rules) ?? target.split("/")[1] ?? "";
        if (to === from || to.endsWith(".ts") || rules[from]?.includes(to)) continue;
        wrong.push(`${file.path} -> ${target}`);
      }
    }
    assert.deepEqual(wrong, []);
  });

  it("has no cycles", () => {
    const graph = new Map(
      sources.map((file) => [file.path, runtimeImportsOf(file).filter((path) => path.endsWith(".ts"))]),
    );
    assert.deepEqual(findCycle(graph), undefined);
  });

  it("leads from no suite that runs beside another one to a process", () => {
    const byPath = new Map(sources.map((file) => [file.path, file]));
    const suites = sources.filter(({ path }) => path.startsWith("test/extended/in-one-process/"));
    assert.ok(suites.length > 10, "the folder has moved");
    for (const suite of suites) {
      // And what it runs: the simulated broker shares a file with those that start real ones.
      const runs = importsOf(suite).flatMap((path) => byPath.get(path) ?? []);
      for (const { path, code } of [suite, ...runs]) {
        const starts = /\bRunningProcess\b|\b(?:BrokerProcess|Mesh|MeshParts)\.start\b/.exec(code)?.[0];
        assert.equal(starts, undefined, `${path} (of ${suite.path}) starts processes: it belongs into test/extended`);
      }
    }
  });

  it("would be seen if it were broken", () => {
    const file: SourceFile = { path: "proto/a.ts", text: 'import { b } from "../sidecar/b.ts";', code: "" };
    assert.deepEqual(importsOf(file), ["sidecar/b.ts"]);
    assert.deepEqual(
      findCycle(
        new Map([
          ["a.ts", ["b.ts"]],
          ["b.ts", ["a.ts"]],
        ]),
      ),
      ["a.ts", "b.ts", "a.ts"],
    );
  });
});

function top(path: string): string {
  return path.split("/")[0] ?? "";
}

/** The most specific folder of `rules` that holds `path`; undefined for the files at the part's root. */
function folderInside(path: string, rules: Readonly<Record<string, unknown>>): string | undefined {
  const inside = path.split("/").slice(1).join("/");
  return Object.keys(rules)
    .filter((folder) => inside.startsWith(`${folder}/`))
    .sort((a, b) => b.length - a.length)[0];
}

/** One cycle as a path that ends where it began, or undefined. */
function findCycle(graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (node: string): string[] | undefined => {
    const at = path.indexOf(node);
    if (at >= 0) return [...path.slice(at), node];
    if (done.has(node)) return undefined;
    path.push(node);
    for (const next of graph.get(node) ?? []) {
      const cycle = visit(next);
      if (cycle !== undefined) return cycle;
    }
    path.pop();
    done.add(node);
    return undefined;
  };
  for (const node of graph.keys()) {
    const cycle = visit(node);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}
