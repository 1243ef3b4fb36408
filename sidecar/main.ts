import { join } from "node:path";
import { createLog } from "../proto/runtime/log.ts";
import { NodeClock } from "../proto/runtime/node-clock.ts";
import { NodeRandomness } from "../proto/runtime/node-randomness.ts";
import { ExitCode, exitOnUncaught, runUntilStopped } from "../proto/runtime/process-lifecycle.ts";
import { SettingsError } from "../proto/runtime/settings.ts";
import { readSidecarConfig, type SidecarConfig, sidecarHelp } from "./config.ts";
import type { TlsMaterial } from "./listener/http2/server.ts";
import { startSidecar } from "./sidecar.ts";

/** The process: settings, start, signals. `startSidecar` has the rest. */
await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<void> {
  if (argv.includes("--help") || argv.includes("-h")) {
    process.stdout.write(`${sidecarHelp()}\n`);
    return;
  }
  const config = configOrExit(argv);
  const log = createLog("sidecar", config.logLevel);
  exitOnUncaught(log);
  const clock = new NodeClock();
  try {
    const tls = await tlsMaterial(config, clock);
    const randomness = new NodeRandomness();
    const sidecar = await startSidecar(config, { clock, randomness, log, tls, version: "0.1.0" });
    runUntilStopped(sidecar, { log, supervised: config.supervised });
  } catch (error) {
    log.error({ err: error }, `the sidecar cannot start: ${startAdvice(error, config)}`);
    process.exit(ExitCode.Config);
  }
}

function configOrExit(argv: readonly string[]): SidecarConfig {
  try {
    return readSidecarConfig(argv);
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(ExitCode.Usage);
  }
}

/** Loaded only when it is needed: making certificates takes a library of some size. */
async function tlsMaterial(config: SidecarConfig, clock: NodeClock): Promise<TlsMaterial | undefined> {
  if (config.tls === "off") return undefined;
  const { readCertificate, selfSignedCertificate } = await import("./listener/certificate.ts");
  if (config.tlsCertificate !== "") return readCertificate(config.tlsCertificate, config.tlsKey);
  return selfSignedCertificate(join(config.dataDir, "tls"), clock);
}

function startAdvice(error: unknown, config: SidecarConfig): string {
  const { code, message, port } = error as NodeJS.ErrnoException & { readonly port?: number };
  if (code === "EADDRINUSE") {
    const flag = port === config.admin.port ? "--admin" : "--listen";
    return `port ${port} is taken; stop what uses it or choose another with ${flag}`;
  }
  if (code === "EACCES") return `${message}; choose another port or directory`;
  return message;
}
