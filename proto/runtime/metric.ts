/**
 * Metrics as plain numbers: a hot path increments a field (3 ns) and the text is made when somebody asks.
 * Names follow Prometheus: `popmesh_<part>_<what>_<unit>[_total]`.
 */
export type Labels = Readonly<Record<string, string>>;

/** A number that only grows. */
export class Counter {
  value = 0;
  add(count = 1): void {
    this.value += count;
  }
}

/** A number that goes up and down. */
export class Gauge {
  value = 0;
  set(value: number): void {
    this.value = value;
  }
}

/** Counts of observations per bucket; `bounds` are inclusive upper bounds in rising order. */
export class Histogram {
  readonly bounds: readonly number[];
  readonly counts: Float64Array;
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    let i = 0;
    while (i < this.bounds.length && value > this.bounds[i]!) i++;
    this.counts[i]! += 1;
    this.sum += value;
    this.count += 1;
  }
}

/** Buckets for durations in seconds, from 100 us to 30 s. */
export const durationBoundsSeconds: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

type Kind = "counter" | "gauge" | "histogram";
interface Family {
  readonly help: string;
  readonly kind: Kind;
  readonly series: Map<string, Counter | Gauge | Histogram | (() => number)>;
}

/** Label values beyond this many per family are folded into "other", so that names from outside cannot fill memory. */
const seriesPerFamilyMax = 1000;

/** All metrics of one process. */
export class MetricRegistry {
  readonly #families = new Map<string, Family>();

  counter(name: string, help: string, labels: Labels = {}): Counter {
    return this.#series(name, help, "counter", labels, () => new Counter()) as Counter;
  }

  gauge(name: string, help: string, labels: Labels = {}): Gauge {
    return this.#series(name, help, "gauge", labels, () => new Gauge()) as Gauge;
  }

  /** A gauge read when the text is made. */
  gaugeOf(name: string, help: string, read: () => number, labels: Labels = {}): void {
    this.#series(name, help, "gauge", labels, () => read);
  }

  histogram(name: string, help: string, labels: Labels = {}, bounds = durationBoundsSeconds): Histogram {
    return this.#series(name, help, "histogram", labels, () => new Histogram(bounds)) as Histogram;
  }

  /** What the labels tell of is gone for good: its series is no longer told. */
  remove(name: string, labels: Labels): void {
    this.#families.get(name)?.series.delete(labelText(labels));
  }

  /** Prometheus exposition format 0.0.4. */
  prometheusText(): string {
    const lines: string[] = [];
    for (const [name, family] of [...this.#families].sort(([a], [b]) => (a < b ? -1 : 1))) {
      lines.push(`# HELP ${name} ${family.help}`, `# TYPE ${name} ${family.kind}`);
      for (const [labels, metric] of family.series) {
        if (metric instanceof Histogram) lines.push(...histogramLines(name, labels, metric));
        else lines.push(`${name}${wrap(labels)} ${typeof metric === "function" ? metric() : metric.value}`);
      }
    }
    return `${lines.join("\n")}\n`;
  }

  #series<T extends Counter | Gauge | Histogram | (() => number)>(
    name: string,
    help: string,
    kind: Kind,
    labels: Labels,
    create: () => T,
  ): T {
    let family = this.#families.get(name);
    if (family === undefined) this.#families.set(name, (family = { help, kind, series: new Map() }));
    let key = labelText(labels);
    if (!family.series.has(key) && family.series.size >= seriesPerFamilyMax) {
      key = labelText(Object.fromEntries(Object.keys(labels).map((label) => [label, "other"])));
    }
    let metric = family.series.get(key);
    if (metric === undefined) family.series.set(key, (metric = create()));
    return metric as T;
  }
}

function histogramLines(name: string, labels: string, histogram: Histogram): string[] {
  const lines: string[] = [];
  let total = 0;
  for (let i = 0; i <= histogram.bounds.length; i++) {
    total += histogram.counts[i]!;
    const bound = i < histogram.bounds.length ? String(histogram.bounds[i]) : "+Inf";
    lines.push(`${name}_bucket${wrap(labels === "" ? `le="${bound}"` : `${labels},le="${bound}"`)} ${total}`);
  }
  lines.push(`${name}_sum${wrap(labels)} ${histogram.sum}`, `${name}_count${wrap(labels)} ${histogram.count}`);
  return lines;
}

function labelText(labels: Labels): string {
  return Object.keys(labels)
    .sort()
    .map((key) => `${key}="${escapeLabel(labels[key]!)}"`)
    .join(",");
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function wrap(labels: string): string {
  return labels === "" ? "" : `{${labels}}`;
}
