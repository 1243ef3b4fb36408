import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { accessSync, constants, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { selfSignedCertificate } from "../../sidecar/listener/certificate.ts";
import { EchoEngine } from "../unit/sidecar/listener/http2/echo-engine.ts";

/** The conformance suite for HTTP/2 servers, from the Go module proxy. */
const modulePath = "github.com/summerwind/h2spec/cmd/h2spec@latest";
/** 44 generic ones, 95 of HTTP/2, 7 of HPACK, the strict ones among them. A run with fewer has left some out. */
const casesMin = 146;

/** Finds h2spec on the PATH or where it was installed before, else installs it. Throws with what to do. */
function findH2spec(): string {
  const goBin = process.env["GOBIN"] ?? join(tmpdir(), "popmesh-go-bin");
  for (const folder of [...(process.env["PATH"] ?? "").split(delimiter), goBin]) {
    const path = join(folder, "h2spec");
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not there.
    }
  }
  try {
    execFileSync("go", ["install", modulePath], { env: { ...process.env, GOBIN: goBin }, stdio: "pipe" });
  } catch (error) {
    const text = `h2spec is missing and could not be installed; run: go install ${modulePath}`;
    throw new Error(text, { cause: error });
  }
  return join(goBin, "h2spec");
}

interface Section {
  readonly name: string;
  passed: number;
  failed: number;
  skipped: number;
}

/** Runs all cases and returns them counted by section, and the names of those that did not pass. */
async function run(h2spec: string, port: number, isTls: boolean, report: string) {
  const tls = isTls ? ["-t", "-k"] : [];
  const args = ["-h", "127.0.0.1", "-p", String(port), "--strict", "-o", "5", "-j", report, ...tls];
  // It exits with 1 when a case fails; the report says which.
  const output = await new Promise<string>((resolve) => {
    execFile(h2spec, args, { maxBuffer: 1 << 24 }, (_error, stdout, stderr) => resolve(stdout + stderr));
  });
  const xml = readFileSync(report, "utf8");
  const sections: Section[] = [];
  const notPassed: string[] = [];
  for (const [, attributes, body] of xml.matchAll(/<testsuite ([^>]*)>(.*?)<\/testsuite>/gs)) {
    const suite = `${attribute(attributes, "package")} ${attribute(attributes, "name")}`;
    const section: Section = { name: suite, passed: 0, failed: 0, skipped: 0 };
    for (const [, own, self, inner] of (body ?? "").matchAll(/<testcase ([^>]*?)(?:(\/)>|>(.*?)<\/testcase>)/gs)) {
      const content = self === "/" ? "" : (inner ?? "");
      if (/<skipped/.test(content)) section.skipped++;
      else if (/<(failure|error)/.test(content)) section.failed++;
      else section.passed++;
      if (/<(skipped|failure|error)/.test(content)) notPassed.push(`${suite}: ${attribute(own, "classname")}`);
    }
    if (section.passed + section.failed + section.skipped > 0) sections.push(section);
  }
  return { sections, notPassed, output };
}

function attribute(attributes: string | undefined, name: string): string {
  return new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(attributes ?? "")?.[1] ?? "";
}

function table(title: string, sections: readonly Section[]): string {
  const width = Math.max(...sections.map(({ name }) => name.length));
  const rows = sections.map(
    (s) =>
      `  ${s.name.padEnd(width)}${String(s.passed).padStart(8)}${String(s.failed).padStart(8)}${String(s.skipped).padStart(9)}`,
  );
  return `${title}\n  ${"section".padEnd(width)}  passed  failed  skipped\n${rows.join("\n")}\n`;
}

describe("h2spec", () => {
  let h2spec: string;
  let directory: string;
  let engine: EchoEngine;

  before(async () => {
    h2spec = findH2spec();
    directory = mkdtempSync(join(tmpdir(), "popmesh-h2spec-"));
    engine = await EchoEngine.start({ tls: await selfSignedCertificate(directory, new NodeClock()) });
  });

  after(() => {
    engine?.stop();
    if (directory !== undefined) rmSync(directory, { recursive: true });
  });

  for (const isTls of [false, true]) {
    it(`passes every case, strict ones too, over ${isTls ? "TLS" : "cleartext"}`, async () => {
      const report = join(directory, `report-${isTls}.xml`);
      const { sections, notPassed, output } = await run(h2spec, engine.port, isTls, report);
      const passed = sections.reduce((sum, section) => sum + section.passed, 0);
      process.stdout.write(table(`h2spec over ${isTls ? "TLS" : "cleartext"}: ${passed} passed`, sections));
      assert.deepEqual(notPassed, [], output);
      assert.ok(passed >= casesMin, `only ${passed} cases ran:\n${output}`);
    });
  }
});
