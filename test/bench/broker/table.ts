import type { LoadFigures, Quantiles } from "./closed-load.ts";
import type { WriteCounters } from "./contender.ts";

/** One line of the report: medians over the rounds, and how far the rounds were apart. */
export interface Row {
  readonly what: string;
  readonly figures: LoadFigures;
  /** Messages per second of each round, in order. */
  readonly rounds: readonly number[];
  /** CPU of the server in microseconds per message, of each round. */
  readonly cpuRounds: readonly number[];
  /** Median time of a send in ms, of each round. */
  readonly sendRounds: readonly number[];
}

export function rowOf(what: string, figures: readonly LoadFigures[]): Row {
  return {
    what,
    figures: medians(figures),
    rounds: figures.map(({ perSecond }) => perSecond),
    cpuRounds: figures.map(({ serverMicros }) => serverMicros),
    sendRounds: figures.map(({ sendMs }) => sendMs.p50),
  };
}

function medians(figures: readonly LoadFigures[]): LoadFigures {
  const of = (read: (figure: LoadFigures) => number) => median(figures.map(read));
  const quantiles = (read: (figure: LoadFigures) => Quantiles): Quantiles => ({
    p50: of((figure) => read(figure).p50),
    p99: of((figure) => read(figure).p99),
    p999: of((figure) => read(figure).p999),
  });
  const written = figures.flatMap((figure) => (figure.written === undefined ? [] : [figure.written]));
  return {
    perSecond: of((figure) => figure.perSecond),
    sendMs: quantiles((figure) => figure.sendMs),
    wholeMs: quantiles((figure) => figure.wholeMs),
    serverMicros: of((figure) => figure.serverMicros),
    clientMicros: of((figure) => figure.clientMicros),
    kernelBytes: of((figure) => figure.kernelBytes),
    written: written.length < figures.length ? undefined : medianCounters(written),
    residentMiB: of((figure) => figure.residentMiB),
    repeated: figures.reduce((sum, figure) => sum + figure.repeated, 0),
    refused: figures.reduce((sum, figure) => sum + figure.refused, 0),
  };
}

function medianCounters(counters: readonly WriteCounters[]): WriteCounters {
  const of = (name: keyof WriteCounters) => median(counters.map((entry) => entry[name]));
  return {
    logBytes: of("logBytes"),
    allBytes: of("allBytes"),
    batches: of("batches"),
    syncs: of("syncs"),
    syncSeconds: of("syncSeconds"),
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

const columns: readonly { readonly title: string; readonly width: number; readonly cell: (row: Row) => string }[] = [
  { title: "msg/s", width: 8, cell: ({ figures }) => figures.perSecond.toFixed(0) },
  { title: "send p50", width: 10, cell: ({ figures }) => ms(figures.sendMs.p50) },
  { title: "p99", width: 8, cell: ({ figures }) => ms(figures.sendMs.p99) },
  { title: "p99.9", width: 8, cell: ({ figures }) => ms(figures.sendMs.p999) },
  { title: "acked p50", width: 11, cell: ({ figures }) => ms(figures.wholeMs.p50) },
  { title: "p99", width: 8, cell: ({ figures }) => ms(figures.wholeMs.p99) },
  { title: "p99.9", width: 8, cell: ({ figures }) => ms(figures.wholeMs.p999) },
  { title: "CPU us", width: 8, cell: ({ figures }) => figures.serverMicros.toFixed(1) },
  { title: "client", width: 8, cell: ({ figures }) => figures.clientMicros.toFixed(1) },
  { title: "log B", width: 8, cell: ({ figures }) => figures.written?.logBytes.toFixed(0) ?? "-" },
  { title: "all B", width: 8, cell: ({ figures }) => figures.written?.allBytes.toFixed(0) ?? "-" },
  { title: "kernel B", width: 10, cell: ({ figures }) => figures.kernelBytes.toFixed(0) },
  { title: "MiB", width: 6, cell: ({ figures }) => figures.residentMiB.toFixed(0) },
  { title: "  rounds", width: 0, cell: ({ rounds }) => `  ${rounds.map((rate) => rate.toFixed(0)).join(" ")}` },
];
const whatWidth = 34;

/** Lines of a table. Latencies in ms; CPU of the server and of the client in us per message; bytes per message. */
export function table(title: string, rows: readonly Row[]): string[] {
  const heads = columns.map(({ title: head, width }) => head.padStart(width)).join("");
  return [
    "",
    title.padEnd(whatWidth) + heads,
    ...rows.map((row) => {
      const { repeated, refused } = row.figures;
      const notes = [
        ...(repeated > 0 ? [`${repeated} acknowledged twice`] : []),
        ...(refused > 0 ? [`${refused} refused and sent again`] : []),
      ];
      const cells = columns.map(({ cell, width }) => cell(row).padStart(width)).join("");
      return row.what.padEnd(whatWidth) + cells + (notes.length > 0 ? `   (${notes.join(", ")})` : "");
    }),
  ];
}

function ms(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(2);
}
