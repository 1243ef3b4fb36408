import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { RunningProcess, repositoryRoot } from "../support/running-process.ts";
import { type Mesh, popmeshCommand, startMesh } from "../support/start-mesh.ts";

interface ShownCommand {
  readonly document: string;
  readonly line: string;
}

/** Every line of every ```sh block, in the order of the documents. */
function shownCommands(): ShownCommand[] {
  const documents = [
    "README.md",
    "examples/README.md",
    "control-plane/README.md",
    ...readdirSync(join(repositoryRoot, "docs")).map((name) => `docs/${name}`),
  ].filter((document) => document.endsWith(".md"));
  return documents.flatMap((document) =>
    [...readFileSync(join(repositoryRoot, document), "utf8").matchAll(/```sh\n([\s\S]*?)```/g)]
      .flatMap(([, block = ""]) => block.split("\n"))
      .map((line) => line.replace(/\s+#.*$/, "").trim())
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => ({ document, line })),
  );
}

describe("every command shown in a document", function () {
  this.timeout(180_000);
  const commands = shownCommands();
  let mesh: Mesh;
  let environment: Record<string, string>;

  before(async () => {
    mesh = await startMesh();
    environment = { POPMESH_ENDPOINT: mesh.endpoint, POPMESH_SERVER: `http://${mesh.api}` };
  });
  after(() => mesh?.stop());

  /** What a reader finds in `.popmesh` of the working directory, or puts there. */
  const inDataDirectory = (text: string): string =>
    text.replaceAll(/(^|\s)\.popmesh(?=\/)/g, `$1${mesh.dataDirectory}`);

  it("is found", () => assert.ok(commands.length >= 10, `only ${commands.length} commands`));

  for (const { document, line } of commands) {
    it(`works: ${line}  (${document})`, async () => {
      const npmScript = /^npm (?:run )?([\w:]+)$/.exec(line)?.[1];
      if (npmScript !== undefined) {
        // The scripts themselves are what CI runs; here they must exist.
        const { scripts } = JSON.parse(readFileSync(join(repositoryRoot, "package.json"), "utf8"));
        assert.ok(scripts[npmScript] !== undefined, `package.json has no script "${npmScript}"`);
        return;
      }
      if (line.startsWith("export ")) {
        for (const [, name = "", value = ""] of line.matchAll(/(\w+)=(\S+)/g)) {
          environment[name] = inDataDirectory(value);
        }
        return;
      }
      assert.match(
        line,
        /^(npx popmesh|node examples\/) ?/,
        "a document may show npm, npx popmesh, node examples/… and export",
      );
      const shell = inDataDirectory(line).replace(/^npx popmesh/, `"${process.execPath}" "${popmeshCommand}"`);
      const program = new RunningProcess("sh", ["-c", shell], environment);
      try {
        assert.equal(await program.exited(), 0, program.output);
      } finally {
        await program.stop("SIGKILL");
      }
    });
  }
});
