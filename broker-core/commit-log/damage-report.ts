import type { Log } from "../../proto/runtime/log.ts";
import { quarantine, quarantineDirectory } from "../storage/quarantine.ts";
import { type Storage, writeWhole } from "../storage/storage.ts";
import type { DamageRange } from "./damage.ts";

export const damageReportPath = "damage.json";

/**
 * Adds what a start found to `damage.json`, the list of everything this log has ever lost. A range found before is not
 * listed twice. Resolves when the file is on disk.
 */
export async function reportDamage(
  storage: Storage,
  log: Log,
  found: readonly DamageRange[],
  wallMs: number,
): Promise<void> {
  const known = await readReport(storage, log);
  const isKnown = (range: DamageRange) => known.some(({ from, to }) => from <= range.from && range.to <= to);
  const added = found.filter((range) => !isKnown(range));
  if (added.length === 0) return;
  const foundAt = new Date(wallMs).toISOString();
  for (const range of added) log.error({ ...range }, "a part of the log is lost");
  const ranges = [...known, ...added.map((range) => ({ ...range, foundAt }))].sort((a, b) => a.from - b.from);
  const bytes = Buffer.from(`${JSON.stringify({ ranges }, undefined, 2)}\n`);
  const draft = `${damageReportPath}.tmp`;
  const file = storage.open(draft, { create: true });
  file.truncate(0);
  writeWhole(file, bytes, 0);
  await file.sync();
  file.close();
  storage.rename(draft, damageReportPath);
  await storage.syncDirectory("");
}

async function readReport(storage: Storage, log: Log): Promise<DamageRange[]> {
  if (!storage.exists(damageReportPath)) return [];
  const file = storage.open(damageReportPath, { create: false });
  const bytes = Buffer.alloc(file.sizeBytes());
  file.read(bytes, 0, bytes.length, 0);
  file.close();
  try {
    const { ranges } = JSON.parse(bytes.toString("utf8")) as { ranges: DamageRange[] };
    if (ranges.every(({ from, to }) => Number.isSafeInteger(from) && Number.isSafeInteger(to))) return ranges;
  } catch {
    // Not a report: handled below.
  }
  const target = quarantine(storage, damageReportPath);
  await storage.syncDirectory(quarantineDirectory);
  log.warn({ target }, "damage.json cannot be read; it was moved and is written anew");
  return [];
}
