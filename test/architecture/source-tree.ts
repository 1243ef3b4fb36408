import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

/** Root of the repository, found from the compiled test (dist…/test/architecture). */
export const repositoryRoot = join(dirname(fileURLToPath(import.meta.url)), "../../..");

export interface SourceFile {
  /** Relative to the root, with "/". */
  readonly path: string;
  readonly text: string;
  /** The text without comments and without the contents of strings: what code does, not what it says. */
  readonly code: string;
}

export const topFolders = ["proto", "broker-core", "control-plane", "sidecar", "examples", "test"] as const;

/** All our TypeScript, generated code left out. */
export function readSources(): SourceFile[] {
  return topFolders.flatMap((folder) =>
    listFiles(folder)
      .filter((path) => path.endsWith(".ts") && !path.startsWith("proto/gen/"))
      .map((path) => {
        const text = readFileSync(join(repositoryRoot, path), "utf8");
        return { path, text, code: codeOnly(text) };
      }),
  );
}

/** Paths of all files below a folder, relative to the root. */
export function listFiles(folder: string): string[] {
  return readdirSync(join(repositoryRoot, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath.slice(repositoryRoot.length + 1), entry.name).replaceAll("\\", "/"))
    .sort();
}

const importPattern = /(?:\bfrom|\bimport)\s*\(?\s*["']([^"']+)["']/g;

/** What a file imports: relative imports as root-relative paths, packages as they stand. */
export function importsOf(file: SourceFile): string[] {
  return [...withoutComments(file.text).matchAll(importPattern)].map(([, specifier = ""]) =>
    specifier.startsWith(".") ? normalize(join(dirname(file.path), specifier)).replaceAll("\\", "/") : specifier,
  );
}

/** Imports that exist at run time: `import type` and `export type` are erased. */
export function runtimeImportsOf(file: SourceFile): string[] {
  const text = withoutComments(file.text).replace(/\b(?:import|export)\s+type\b[^;]*?from\s*["'][^"']+["']/g, "");
  return importsOf({ ...file, text });
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
}

function codeOnly(text: string): string {
  return withoutComments(text).replace(/"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/g, '""');
}
