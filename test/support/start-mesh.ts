import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts } from "./free-port.ts";
import { popmeshCommand } from "./popmesh-command.ts";
import { RunningProcess } from "./running-process.ts";

/** `popmesh up` as a user runs it, on free ports and a directory of its own. */
export interface Mesh {
  readonly up: RunningProcess;
  readonly dataDirectory: string;
  /** Where applications connect. */
  readonly endpoint: string;
  readonly api: string;
  readonly xds: string;
  /** Frame port of the broker. */
  readonly broker: string;
  readonly sidecarAdmin: string;
  readonly brokerAdmin: string;
  /** Process id of one part, as its data directory or log tells it. */
  stop(): Promise<void>;
}

export async function startMesh(
  options: { readonly argv?: readonly string[]; readonly dataDirectory?: string; readonly node?: string } = {},
): Promise<Mesh> {
  const dataDirectory = options.dataDirectory ?? mkdtempSync(join(tmpdir(), "popmesh-mesh-"));
  const [listen, sidecarAdmin, xds, api, broker, brokerAdmin] = (await freePorts(6)).map((port) => `127.0.0.1:${port}`);
  const flags = {
    listen,
    "sidecar-admin": sidecarAdmin,
    xds,
    api,
    broker,
    "broker-admin": brokerAdmin,
    "data-dir": dataDirectory,
  };
  const up = new RunningProcess(options.node ?? process.execPath, [
    popmeshCommand,
    "up",
    ...Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]),
    ...(options.argv ?? []),
  ]);
  const stop = async () => {
    await up.stop("SIGINT");
    if (options.dataDirectory === undefined) rmSync(dataDirectory, { recursive: true, force: true });
  };
  try {
    await up.printed("popmesh is ready");
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    up,
    dataDirectory,
    endpoint: String(listen),
    api: String(api),
    xds: String(xds),
    broker: String(broker),
    sidecarAdmin: String(sidecarAdmin),
    brokerAdmin: String(brokerAdmin),
    stop,
  };
}

/** The processes that `popmesh up` started, by what they run. Linux only, as the tests are. */
export async function childPid(mesh: Mesh, part: "sidecar" | "broker-core" | "control-plane"): Promise<number> {
  const { readFileSync, readdirSync } = await import("node:fs");
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const parent = /\nPPid:\s+(\d+)/.exec(readFileSync(`/proc/${name}/status`, "utf8"))?.[1];
      if (Number(parent) !== mesh.up.child.pid) continue;
      if (readFileSync(`/proc/${name}/cmdline`, "utf8").includes(`/${part}/main.js`)) return Number(name);
    } catch {
      // It ended while we looked.
    }
  }
  throw new Error(`no ${part} process below ${mesh.up.child.pid}`);
}
