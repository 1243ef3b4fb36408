import type { Log } from "../../proto/runtime/log.ts";
import { quarantine, quarantineDirectory } from "../storage/quarantine.ts";
import { type Storage, writeWhole } from "../storage/storage.ts";
import type { DamageRange, KnownDamage } from "./damage.ts";

export const damageReportPath = "damage.json";

interface Report {
  readonly ranges: readonly (DamageRange & { readonly knownFrom?: number })[];
  /** What the broker made of it, start by start; whoever follows the log adds it (`reportConsequences`). */
  readonly consequences?: readonly object[];
}

/** The lost parts that earlier starts have gone on without; undefined: there is a report, and it cannot be read. */
export function readKnownDamage(storage: Storage): readonly KnownDamage[] | undefined {
  return parseReport(storage)?.ranges.filter((range): range is KnownDamage => Number.isSafeInteger(range.knownFrom));
}

/**
 * Adds what a start found to `damage.json`, the list of everything this log has ever lost. A range found before is not
 * listed twice; a report that cannot be read is moved aside. `end`: where the log goes on; what is written from there on is written in knowledge of the damage. Resolves
 * when the file is on disk, which must be before anything is written to the log.
 */
export async function reportDamage(
  storage: Storage,
  log: Log,
  found: readonly DamageRange[],
  end: number,
  wallMs: number,
): Promise<void> {
  const report = await readReport(storage, log);
  const isListed = (range: DamageRange) => report.ranges.some(({ from, to }) => from <= range.from && range.to <= to);
  const added = found.filter((range) => !isListed(range));
  // A start before that found it may have ended without writing a record, and the log ends earlier now. What lies behind its
  // end says nothing any more: somebody began the log anew, or restored an older one.
  const known = report.ranges.map(({ knownFrom, ...range }) =>
    range.to > end ? range : { ...range, knownFrom: Math.min(knownFrom ?? end, end) },
  );
  if (added.length === 0 && JSON.stringify(known) === JSON.stringify(report.ranges)) return;
  const foundAt = new Date(wallMs).toISOString();
  for (const range of added) log.error({ ...range }, "a part of the log is lost");
  const ranges = [...known, ...added.map((range) => ({ ...range, knownFrom: end, foundAt }))];
  await writeReport(storage, { ...report, ranges: ranges.sort((a, b) => a.from - b.from) });
}

/** Adds to `damage.json` what the loss has done to topics and groups, as the start that found it worked it out. */
export async function reportConsequences(
  storage: Storage,
  log: Log,
  consequences: object,
  wallMs: number,
): Promise<void> {
  const report = await readReport(storage, log);
  const told = JSON.stringify(consequences);
  const known = report.consequences ?? [];
  // The next start without a checkpoint in between works the same out.
  if (known.some(({ foundAt: _, ...before }: { foundAt?: string }) => JSON.stringify(before) === told)) return;
  const foundAt = new Date(wallMs).toISOString();
  await writeReport(storage, { ...report, consequences: [...known, { ...consequences, foundAt }] });
}

async function writeReport(storage: Storage, report: Report): Promise<void> {
  const bytes = Buffer.from(`${JSON.stringify(report, undefined, 2)}\n`);
  const draft = `${damageReportPath}.tmp`;
  const file = storage.open(draft, { create: true });
  file.truncate(0);
  writeWhole(file, bytes, 0);
  await file.sync();
  file.close();
  storage.rename(draft, damageReportPath);
  await storage.syncDirectory("");
}

/** A report that cannot be read is moved aside. */
async function readReport(storage: Storage, log: Log): Promise<Report> {
  const report = parseReport(storage);
  if (report !== undefined) return report;
  const target = quarantine(storage, damageReportPath);
  await storage.syncDirectory(quarantineDirectory);
  log.warn({ target }, "damage.json cannot be read; it was moved and is written anew");
  return noReport;
}

const noReport: Report = { ranges: [] };

/** Undefined when it cannot be read. */
function parseReport(storage: Storage): Report | undefined {
  if (!storage.exists(damageReportPath)) return noReport;
  const file = storage.open(damageReportPath, { create: false });
  const bytes = Buffer.alloc(file.sizeBytes());
  file.read(bytes, 0, bytes.length, 0);
  file.close();
  try {
    const report = JSON.parse(bytes.toString("utf8")) as Report;
    const { ranges, consequences = [] } = report;
    const isRange = ({ from, to }: DamageRange) => Number.isSafeInteger(from) && Number.isSafeInteger(to);
    if (ranges.every(isRange) && Array.isArray(consequences)) return report;
  } catch {
    // Not a report.
  }
  return undefined;
}
