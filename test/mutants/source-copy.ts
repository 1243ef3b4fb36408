import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { topFolders } from "../architecture/source-tree.ts";
import { repositoryRoot } from "../support/running-process.ts";
import { applyPatch, type Patch } from "./patch.ts";

/** A copy of the source tree, so that nothing that ships ever holds a bug or a switch for one. */
export class SourceCopy {
  readonly root: string;
  /** Texts of files that a patch has changed, as they were. */
  readonly #original = new Map<string, string>();

  constructor() {
    this.root = mkdtempSync(join(tmpdir(), "popmesh-mutants-"));
    for (const name of [
      ...topFolders,
      "docs",
      "dist",
      "package.json",
      "tsconfig.json",
      "README.md",
      "CONTRIBUTING.md",
    ]) {
      cpSync(join(repositoryRoot, name), join(this.root, name), { recursive: true });
    }
    symlinkSync(join(repositoryRoot, "node_modules"), join(this.root, "node_modules"));
  }

  /** Puts a bug in. Throws `PatchError`. */
  apply(patch: Patch): void {
    const changed = applyPatch(patch, (path) => readFileSync(join(this.root, path), "utf8"));
    for (const [path, text] of changed) {
      this.#original.set(path, readFileSync(join(this.root, path), "utf8"));
      writeFileSync(join(this.root, path), text);
    }
  }

  /** Takes it out again. */
  revert(): void {
    for (const [path, text] of this.#original) writeFileSync(join(this.root, path), text);
    this.#original.clear();
  }

  /** Compiles what has changed. Undefined when that went well, else what the compiler says. */
  build(): string | undefined {
    const compiler = join(this.root, "node_modules/typescript/bin/tsc");
    const { status, stdout, stderr } = spawnSync(process.execPath, [compiler], { cwd: this.root, encoding: "utf8" });
    return status === 0 ? undefined : `${stdout}${stderr}`.trim();
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}
