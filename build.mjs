// Installs and builds what is missing or stale, and does nothing, quickly, when all is there. `--install` stops before
// compiling. Runs on a bare Node with npm: it may import nothing but Node's own modules.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(fileURLToPath(import.meta.url));
const sourceFolders = ["proto", "sidecar", "control-plane", "broker-core", "examples", "test"];

step("node_modules/.popmesh-installed", ["package.json", "package-lock.json", ".npmrc"], "install packages", () => {
  // Not "npm ci": it insists on an entry for every platform of every optional package, which not each registry has.
  run("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"]);
});
step(
  "proto/gen/.generated",
  [...files("proto", ".proto"), ...files("proto", ".mjs"), "package-lock.json"],
  "generate codecs",
  () => {
    run(process.execPath, ["proto/generate.mjs"]);
  },
);
if (!process.argv.includes("--install")) {
  const sources = sourceFolders.flatMap((folder) => files(folder, ".ts"));
  step("dist/.built", [...sources, "tsconfig.json", "package-lock.json"], "compile", () => {
    removeOrphans(sources);
    run(process.execPath, ["node_modules/typescript/bin/tsc"]);
    linkCommand();
  });
}

/** Runs `action` unless the stamp file holds the digest of exactly these inputs. */
function step(stamp, inputs, what, action) {
  const hash = createHash("sha256");
  for (const input of inputs)
    hash
      .update(input)
      .update("\0")
      .update(readFileSync(join(root, input)))
      .update("\0");
  const digest = hash.digest("hex");
  const stampPath = join(root, stamp);
  if (existsSync(stampPath) && readFileSync(stampPath, "utf8") === digest) return;
  process.stderr.write(`popmesh: ${what}\n`);
  action();
  mkdirSync(dirname(stampPath), { recursive: true });
  writeFileSync(stampPath, digest);
}

/** Removes what was compiled of sources that are gone: a test among them would go on running. */
function removeOrphans(sources) {
  const known = new Set(sources.map((source) => source.slice(0, -".ts".length)));
  for (const folder of sourceFolders) {
    for (const ending of [".js", ".js.map", ".d.ts"]) {
      for (const compiled of files(join("dist", folder), ending)) {
        const source = compiled.slice("dist/".length, -ending.length);
        if (!known.has(source)) rmSync(join(root, compiled));
      }
    }
  }
}

/** Lets `npx popmesh` find the command of this very checkout. */
function linkCommand() {
  const command = join(root, "dist/control-plane/command/popmesh.js");
  chmodSync(command, 0o755);
  const link = join(root, "node_modules/.bin/popmesh");
  rmSync(link, { force: true });
  symlinkSync(command, link);
}

function files(folder, ending) {
  const base = join(root, folder);
  if (!existsSync(base)) return [];
  return readdirSync(base, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(ending) && !name.startsWith("gen") && statSync(join(base, name)).isFile())
    .map((name) => join(folder, name))
    .sort();
}

function run(command, args) {
  const result = spawnSync(command, args, { cwd: root, stdio: ["ignore", 2, 2], shell: false });
  if (result.status === 0) return;
  process.stderr.write(
    `popmesh: "${command} ${args.join(" ")}" failed (${result.error?.message ?? `exit ${result.status}`})\n`,
  );
  process.exit(1);
}
