import { createLog } from "../proto/runtime/log.ts";
import { NodeClock } from "../proto/runtime/node-clock.ts";
import { NodeRandomness } from "../proto/runtime/node-randomness.ts";
import { ExitCode, exitOnUncaught, runUntilStopped } from "../proto/runtime/process-lifecycle.ts";
import { SettingsError } from "../proto/runtime/settings.ts";
import { type Broker, startBroker } from "./broker.ts";
import { checkCommand } from "./check/check-command.ts";
import { LogFormatError } from "./commit-log/log-format-error.ts";
import { type BrokerConfig, brokerHelp, checkHelp, readBrokerConfig } from "./config.ts";
import { namingRelease } from "./directory-release.ts";
import { DataDirectoryError } from "./identity.ts";
import { NodeStorage } from "./storage/node-storage.ts";
import { StorageError } from "./storage/storage.ts";

/** The broker process: `node broker-core/main.js --data-dir x`. */

/** After a failed disk: time for the refusals to leave. */
const refusalMs = 200;

const argv = process.argv.slice(2);
if (argv[0] === "check") await check(argv.slice(1));
if (argv.includes("--help")) {
  process.stdout.write(`${brokerHelp()}\n`);
  process.exit(ExitCode.Ok);
}
const config = configOrExit();
const log = createLog("broker", config.logLevel);
exitOnUncaught(log);
const clock = new NodeClock();
const storage = storageOrExit();

let broker: Broker;
try {
  broker = await startBroker(config, {
    storage,
    clock,
    randomness: new NodeRandomness(),
    log,
    onDiskFailure: () => clock.after(refusalMs, () => process.exit(ExitCode.Storage)),
  });
} catch (cause) {
  const error = namingRelease(storage, cause);
  log.error({ err: error }, `the broker cannot start: ${error instanceof Error ? error.message : String(error)}`);
  storage.unlock();
  process.exit(exitCodeOf(error));
}
runUntilStopped(
  {
    stop: async () => {
      await broker.stop();
      storage.unlock();
    },
    stopNow: () => broker.stopNow(),
  },
  { log, supervised: config.supervised },
);

/** `popmesh broker check`: no broker, a look at its directory. */
async function check(args: readonly string[]): Promise<never> {
  if (args.includes("--help")) {
    process.stdout.write(`${checkHelp()}\n`);
    process.exit(ExitCode.Ok);
  }
  try {
    const { dataDir } = readBrokerConfig(args);
    const checkClock = new NodeClock();
    const { text, exitCode } = await checkCommand(
      new NodeStorage(dataDir, checkClock.bootId, false),
      checkClock,
      dataDir,
    );
    process.stdout.write(text);
    process.exit(exitCode);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(error instanceof SettingsError ? ExitCode.Usage : exitCodeOf(error));
  }
}

function configOrExit(): BrokerConfig {
  try {
    return readBrokerConfig(argv);
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    process.stderr.write(`${error.message}\nSee --help.\n`);
    process.exit(ExitCode.Usage);
  }
}

function storageOrExit(): NodeStorage {
  try {
    return new NodeStorage(config.dataDir, clock.bootId);
  } catch (error) {
    log.error({ err: error }, "the data directory cannot be used");
    process.exit(exitCodeOf(error));
  }
}

function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof StorageError) return error.kind === "locked" ? ExitCode.Locked : ExitCode.Storage;
  if (error instanceof DataDirectoryError || error instanceof LogFormatError) return ExitCode.Config;
  const isListenProblem = error instanceof Error && "syscall" in error && error.syscall === "listen";
  return isListenProblem ? ExitCode.Config : ExitCode.Software;
}
