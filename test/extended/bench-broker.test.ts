import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rowOf, table } from "../bench/broker/table.ts";
import { compiledRoot, RunningProcess } from "../support/running-process.ts";

describe("npm run bench:broker", () => {
  it("measures popmesh by itself and leaves nothing behind", async () => {
    const directory = mkdtempSync(join(tmpdir(), "popmesh-bench-test-"));
    try {
      const file = join(compiledRoot, "test/bench/broker.js");
      const bench = RunningProcess.node(file, ["--quick", "--directory", directory]);
      assert.equal(await bench.exited(), 0, bench.output);
      const tables = tablesIn(bench.output);
      assert.deepEqual([...tables.keys()], ["popmesh broker core", "1 KiB, 8 queues"], bench.output);
      const own = tables.get("popmesh broker core")!;
      for (const what of [
        "normal, 1 KiB, 8 queues",
        "FIFO, 1 000 groups",
        "transactional",
        "100 B",
        "timed, 50 ms ahead",
        "async flush",
        "48 MiB of log kept",
        "1 000 queues",
      ]) {
        assert.ok(own.has(what), `no row "${what}" in\n${bench.output}`);
      }
      for (const row of [...own.values(), ...tables.get("1 KiB, 8 queues")!.values()]) {
        // Messages per second, six latencies, two costs, three sorts of bytes, memory, and the one round.
        assert.equal(row.length, 14, bench.output);
        assert.ok(
          row.every((figure) => Number.isFinite(figure) && figure >= 0),
          bench.output,
        );
        const [perSecond = 0, sendP50 = 0, sendP99 = 0, sendP999 = 0, wholeP50 = 0] = row;
        assert.ok(perSecond > 0 && sendP50 > 0 && sendP50 <= sendP99 && sendP99 <= sendP999, bench.output);
        assert.ok(wholeP50 >= sendP50, `acknowledged before it was sent:\n${bench.output}`);
      }
      // Both are counted by the broker, and its log is the least it writes.
      const [, logTimes = 0, allTimes = 0] = /: (\S+) bytes of log and (\S+) bytes in all/.exec(bench.output) ?? [];
      assert.ok(Number(logTimes) > 0 && Number(allTimes) >= Number(logTimes), bench.output);
      assert.deepEqual(readdirSync(directory), []);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("prints rows that can be read with and without a note", () => {
    const latencies = { p50: 11.59, p99: 137, p999: 140.5 };
    const figures = {
      perSecond: 21294,
      sendMs: latencies,
      wholeMs: latencies,
      serverMicros: 50.1,
      clientMicros: 19.1,
      kernelBytes: 115835,
      written: { logBytes: 1239, allBytes: 1239, batches: 1, syncs: 1, syncSeconds: 0.1 },
      residentMiB: 113,
      repeated: 0,
      refused: 0,
    };
    const rows = [rowOf("plain, 1 KiB", [figures]), rowOf("noted", [{ ...figures, repeated: 2, refused: 3 }])];
    const [, read] = [...tablesIn(table("a title", rows).join("\n"))][0] ?? [];
    const shown = [21294, 11.59, 137, 141, 11.59, 137, 141, 50.1, 19.1, 1239, 1239, 115835, 113, 21294];
    assert.deepEqual(
      [...(read ?? [])],
      [
        ["plain, 1 KiB", shown],
        ["noted", shown],
      ],
    );
  });
});

/**
 * Rows of figures by title and name. A title line has the column heads behind it, and rows follow to the first other line.
 * A note in brackets may follow the figures: of messages that were acknowledged twice, or refused and sent again.
 */
function tablesIn(output: string): Map<string, Map<string, number[]>> {
  const tables = new Map<string, Map<string, number[]>>();
  let table: Map<string, number[]> | undefined;
  for (const line of output.split("\n")) {
    const [name = "", ...cells] = line.split(/ {2,}/).filter((cell) => !/^\(.*\)$/.test(cell));
    const figures = cells.join(" ").split(" ").map(Number);
    if (cells[0] === "msg/s") tables.set(name, (table = new Map()));
    else if (cells.length > 0 && !figures.some(Number.isNaN)) table?.set(name, figures);
  }
  return tables;
}
