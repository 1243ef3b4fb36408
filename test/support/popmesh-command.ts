import assert from "node:assert/strict";
import { join } from "node:path";
import { compiledRoot, RunningProcess } from "./running-process.ts";

/** The command `popmesh`, compiled. */
export const popmeshCommand = join(compiledRoot, "control-plane/command/popmesh.js");

/** What became of a command: its exit code and everything that it printed. */
export interface CommandRun {
  readonly code: number | string;
  readonly output: string;
}

/** Runs `popmesh …` as a user does, to its end. `server`: URL of the control plane's API, or "" for a command that asks none. */
export async function runPopmesh(server: string, argv: readonly string[]): Promise<CommandRun> {
  const command = RunningProcess.node(popmeshCommand, argv, server === "" ? {} : { POPMESH_SERVER: server });
  return { code: await command.exited(), output: command.output };
}

/** The same, of a command that is to end with `expectedCode`: what it printed. */
export async function commandOutput(server: string, argv: readonly string[], expectedCode = 0): Promise<string> {
  const { code, output } = await runPopmesh(server, argv);
  assert.equal(code, expectedCode, `popmesh ${argv.join(" ")}: ${output}`);
  return output;
}

/** Declares what `manifests` (YAML or JSON) say, over the API at the URL `server`. */
export async function applyManifests(server: string, manifests: string): Promise<void> {
  const headers = { "x-popmesh-client": "test", "content-type": "application/yaml" };
  const answer = await fetch(`${server}/v1/apply`, { method: "POST", headers, body: manifests });
  assert.equal(answer.status, 200, await answer.text());
}
