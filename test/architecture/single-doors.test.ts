import assert from "node:assert/strict";
import { importsOf, readSources } from "./source-tree.ts";

interface Door {
  readonly what: string;
  readonly pattern: RegExp;
  /** Files (or folders ending in "/") that are the door. */
  readonly allowed: readonly string[];
}

const chance = /\bMath\.random\b|\brandomBytes\(|\brandomUUID\(|\brandomInt\(/;

const doors: readonly Door[] = [
  {
    what: "the clock",
    pattern:
      /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b|\bprocess\.hrtime\b|\bset(?:Timeout|Interval|Immediate)\(/,
    allowed: ["proto/runtime/node-clock.ts"],
  },
  {
    what: "chance",
    pattern: chance,
    allowed: ["proto/runtime/node-randomness.ts"],
  },
  {
    what: "the environment",
    pattern: /\bprocess\.env\b/,
    allowed: ["sidecar/config.ts", "broker-core/config.ts", "control-plane/config.ts", "control-plane/command/"],
  },
  {
    what: "the console",
    pattern: /\bconsole\.|\bprocess\.std(?:out|err)\b/,
    allowed: [
      "proto/runtime/log.ts",
      "control-plane/command/output.ts",
      "sidecar/main.ts",
      "broker-core/main.ts",
      "control-plane/main.ts",
    ],
  },
];

describe("single doors", () => {
  const sources = readSources().filter(({ path }) => !path.startsWith("test/") && !path.startsWith("examples/"));

  for (const { what, pattern, allowed } of doors) {
    it(`${what} enters by ${allowed.join(", ")} only`, () => {
      const wrong = sources
        .filter(({ path }) => !allowed.some((door) => (door.endsWith("/") ? path.startsWith(door) : path === door)))
        .flatMap(({ path, code }) =>
          code.split("\n").flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : [])),
        );
      assert.deepEqual(wrong, []);
    });
  }

  it("the chance of tests enters by the seed of the run only", () => {
    const doorsOfTests = [
      "test/architecture/single-doors.test.ts",
      "test/support/seeded-fast-check.ts",
      "test/support/test-seed.ts",
      "test/unit/support/test-seed.test.ts",
    ];
    const wrong = readSources()
      .filter(({ path }) => path.startsWith("test/") && !path.startsWith("test/bench/") && !doorsOfTests.includes(path))
      .flatMap((file) =>
        [
          ...file.code.split("\n").filter((line) => chance.test(line)),
          ...file.text.split("\n").filter((line) => line.includes('env["POPMESH_TEST_SEED"]')),
          ...importsOf(file).filter((target) => target === "fast-check"),
        ].map((what) => `${file.path}: ${what.trim()}`),
      );
    assert.deepEqual(wrong, []);
  });

  it("the broker's disk is reached through broker-core/storage/ only", () => {
    const wrong = sources
      .filter(({ path }) => path.startsWith("broker-core/") && !path.startsWith("broker-core/storage/"))
      .filter((file) => importsOf(file).some((target) => /^(node:)?fs(\/|$)/.test(target)))
      .map(({ path }) => path);
    assert.deepEqual(wrong, []);
  });

  it("the engine of the data port knows nothing of messaging", () => {
    const wrong = sources
      .filter(({ path }) => path.startsWith("sidecar/listener/http2/"))
      .filter(({ code }) => /rocketmq|topic|broker|consumer|receipt/i.test(code))
      .map(({ path }) => path);
    assert.deepEqual(wrong, []);
  });
});
