const byteUnits: Readonly<Record<string, number>> = { "": 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** A size of a manifest, "512KiB" or a number of bytes; undefined when it is none. */
export function sizeInBytes(value: unknown): number | undefined {
  if (typeof value === "number") return Number.isInteger(value) && value >= 0 ? value : undefined;
  const [, count, unit] = (typeof value === "string" && /^(\d{1,12})(KiB|MiB|GiB|)$/.exec(value.trim())) || [];
  return count === undefined ? undefined : Number(count) * (byteUnits[unit ?? ""] ?? 1);
}

/** The shortest form that reads back to the same. */
export function sizeText(bytes: number): string | number {
  for (const unit of ["GiB", "MiB", "KiB"]) {
    const size = byteUnits[unit] ?? 1;
    if (bytes > 0 && bytes % size === 0) return `${bytes / size}${unit}`;
  }
  return bytes;
}
