import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { freePorts } from "../support/free-port.ts";
import { popmeshCommand } from "../support/popmesh-command.ts";
import { RunningProcess, repositoryRoot } from "../support/running-process.ts";
import { type Mesh, startMesh } from "../support/start-mesh.ts";

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
  /** Processes that a document starts beside the mesh; they stay until all commands are run. */
  const beside: RunningProcess[] = [];
  /** By the addresses that documents show for such processes. */
  const ports = new Map<string, string>();

  before(async () => {
    mesh = await startMesh();
    const shown = ["127.0.0.1:8082", "127.0.0.1:15002"];
    const free = await freePorts(shown.length);
    for (const [i, address] of shown.entries()) ports.set(address, `127.0.0.1:${free[i]}`);
    environment = {
      POPMESH_ENDPOINT: mesh.endpoint,
      POPMESH_SERVER: `http://${mesh.api}`,
      POPMESH_SIDECAR_CONTROL_PLANE: mesh.xds,
    };
  });
  after(async () => {
    for (const program of beside) await program.stop("SIGKILL");
    await mesh?.stop();
  });

  /** What a reader finds in `.popmesh` of the working directory, or puts there. */
  const inDataDirectory = (text: string): string =>
    text.replaceAll(/(^|\s)\.popmesh(?=\/)/g, `$1${mesh.dataDirectory}`);

  const withFreePorts = (text: string): string => {
    return [...ports].reduce((line, [address, free]) => line.replaceAll(address, free), text);
  };

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
        /^(?:POPMESH_ENDPOINT=\S+ )?(?:npx popmesh|node examples\/) ?/,
        "a document may show npm, npx popmesh, node examples/… and export",
      );
      const shell = inDataDirectory(line).replace(/^npx popmesh/, `"${process.execPath}" "${popmeshCommand}"`);
      if (line.startsWith("npx popmesh sidecar --lane")) {
        const sidecar = new RunningProcess("sh", ["-c", `exec ${withFreePorts(shell)}`], environment);
        beside.push(sidecar);
        await sidecar.printed("sidecar listens", 60_000);
        return;
      }
      const program = new RunningProcess("sh", ["-c", withFreePorts(shell)], environment);
      try {
        assert.equal(await program.exited(), 0, program.output);
      } finally {
        await program.stop("SIGKILL");
      }
    });
  }
});
