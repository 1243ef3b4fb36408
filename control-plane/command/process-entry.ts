import { fileURLToPath, pathToFileURL } from "node:url";

/**
 * The three processes of the mesh, known by path alone: the command starts them and never imports what they are made of.
 */
export const processNames = ["control-plane", "broker", "sidecar"] as const;
export type ProcessName = (typeof processNames)[number];

const mainByName: Readonly<Record<ProcessName, string>> = {
  "control-plane": "../main.js",
  broker: "../../broker-core/main.js",
  sidecar: "../../sidecar/main.js",
};

/** File that Node runs for a process. */
export function processMain(name: ProcessName): string {
  return fileURLToPath(new URL(mainByName[name], import.meta.url));
}

/** Turns this very process into one of the mesh: `popmesh broker --data-dir x` is `node broker-core/main.js --data-dir x`. */
export async function becomeProcess(name: ProcessName, argv: readonly string[]): Promise<void> {
  process.argv = [process.execPath, processMain(name), ...argv];
  await import(pathToFileURL(processMain(name)).href);
}
