import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";

/** A directory as text: path to size and what is in it, gzip in base64, without the zeros at its end. */
export type PackedTree = Readonly<Record<string, { readonly bytes: number; readonly gzip: string }>>;

/** Who holds the directory is no part of it. */
const left = new Set(["lock"]);

export function packTree(directory: string): PackedTree {
  return Object.fromEntries(
    filesOf(directory).map((path) => {
      const content = readFileSync(join(directory, path));
      let end = content.length;
      while (end > 0 && content[end - 1] === 0) end--;
      const gzip = gzipSync(content.subarray(0, end), { level: 9 }).toString("base64");
      return [path, { bytes: content.length, gzip }];
    }),
  );
}

export function unpackTree(packed: PackedTree, directory: string): void {
  for (const [path, { bytes, gzip }] of Object.entries(packed)) {
    const full = join(directory, path);
    mkdirSync(dirname(full), { recursive: true });
    writeFileSync(full, gunzipSync(Buffer.from(gzip, "base64")));
    truncateSync(full, bytes);
  }
}

/** Every file and directory with a digest of what is in it: equal before and after means that nothing was changed. */
export function digestTree(directory: string): Readonly<Record<string, string>> {
  const digests: Record<string, string> = {};
  for (const name of (readdirSync(directory, { recursive: true }) as string[]).sort()) {
    const full = join(directory, name);
    digests[name] = statSync(full).isDirectory()
      ? "directory"
      : createHash("sha256").update(readFileSync(full)).digest("hex");
  }
  return digests;
}

function filesOf(directory: string): string[] {
  return (readdirSync(directory, { recursive: true }) as string[])
    .map((name) => relative(directory, join(directory, name)))
    .filter((path) => !left.has(path) && statSync(join(directory, path)).isFile())
    .sort();
}
