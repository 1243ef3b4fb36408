import { createLog } from "../proto/runtime/log.ts";
import { NodeClock } from "../proto/runtime/node-clock.ts";
import { NodeRandomness } from "../proto/runtime/node-randomness.ts";
import { ExitCode, exitOnUncaught, runUntilStopped } from "../proto/runtime/process-lifecycle.ts";
import { SettingsError } from "../proto/runtime/settings.ts";
import { type ControlPlaneConfig, describeControlPlaneConfig, readControlPlaneConfig } from "./config.ts";
import { CannotListenError, startControlPlane } from "./control-plane.ts";
import { DirectoryLockedError } from "./store/directory-lock.ts";
import { StoreRefusedError } from "./store/store.ts";

/** The process `popmesh control-plane`. */
const argv = process.argv.slice(2);
if (argv.includes("--help")) {
  process.stdout.write(`popmesh control-plane [settings]\n\n${describeControlPlaneConfig()}\n`);
} else {
  await run(readConfigOrExit());
}

async function run(config: ControlPlaneConfig): Promise<void> {
  const log = createLog("control-plane", config.logLevel);
  exitOnUncaught(log);
  const onStoreFailure = (error: unknown) => {
    log.error({ err: error }, "the store cannot be written; the process ends, what was answered is safe on disk");
    process.exit(ExitCode.Storage);
  };
  try {
    const deps = { clock: new NodeClock(), randomness: new NodeRandomness(), log, onStoreFailure };
    const controlPlane = await startControlPlane(config, deps);
    runUntilStopped(
      // Nothing is lost by ending at once: what was answered is on disk.
      { stop: () => controlPlane.stop(), stopNow: () => {} },
      { log, supervised: config.supervised },
    );
  } catch (error) {
    process.stderr.write(`popmesh control-plane: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(exitCodeOf(error));
  }
}

function readConfigOrExit(): ControlPlaneConfig {
  try {
    return readControlPlaneConfig(argv);
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(ExitCode.Usage);
  }
}

function exitCodeOf(error: unknown): number {
  if (error instanceof DirectoryLockedError) return ExitCode.Locked;
  return error instanceof StoreRefusedError || error instanceof CannotListenError ? ExitCode.Config : ExitCode.Software;
}
