import {
  address,
  bytes,
  choice,
  describeSettings,
  durationMs,
  integer,
  optionalAddress,
  readSettings,
  type Settings,
  SettingsError,
  text,
  toggle,
} from "../proto/runtime/settings.ts";

const table = {
  name: text("name of the broker group; part of every receipt", "broker-a"),
  listen: address("where sidecars connect", "127.0.0.1:17000"),
  admin: address("admin port", "127.0.0.1:17001"),
  dataDir: text("directory of the log", "./.popmesh/broker"),
  controlPlane: optionalAddress("registry of the control plane", "127.0.0.1:18000"),
  advertise: optionalAddress("address told to sidecars, where it is not the one listened on", ""),
  flush: choice("async acknowledges before the disk has it: a power cut loses up to 500 ms", "sync", ["sync", "async"]),
  groupStart: choice("where a group starts in a topic it reads for the first time", "beginning", ["end", "beginning"]),
  segmentSize: bytes("size of a log file", "64MiB"),
  checkpointEvery: bytes("log written between two checkpoints of the derived state", "64MiB"),
  retentionAge: durationMs("messages older than this are removed, consumed or not; 0 for never", "72h"),
  retentionBytes: bytes("the oldest messages are removed when the log is larger; 0 for any size", "0"),
  indexMemory: bytes("memory for the index of messages; what does not fit is read from disk", "64MiB"),
  transactionFirstCheck: durationMs("from a half message to the first question to its producer", "6s"),
  transactionCheckInterval: durationMs("from one question to the next", "30s"),
  transactionChecksMax: integer("questions before a transaction is rolled back", 15, 1, 65_535),
  transactionAgeMax: durationMs("a transaction open for longer is rolled back, asked or not", "24h"),
  delayMax: durationMs("longest time ahead that a timed message may be sent for", "960h"),
  drain: durationMs("how long open requests are waited for after SIGTERM", "5s"),
  logLevel: choice("least level of log lines", "info", ["debug", "info", "warn", "error", "silent"]),
  supervised: toggle("end when standard input ends", false),
};

/** Everything that can be set about a broker: complete, checked, frozen. */
export type BrokerConfig = Settings<typeof table>;

/** Receipts begin with the name and have 255 characters in all. */
const namePattern = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/;
const segmentBytesMin = 16 * 1024 * 1024;
const segmentBytesMax = 1024 * 1024 * 1024;
/** What the records hold with room to spare. */
const waitMsMax = 40 * 24 * 3_600_000;
const wildcardHosts: readonly string[] = ["0.0.0.0", "::"];

/** Reads flags, environment (`POPMESH_BROKER_*`) and config file. Throws `SettingsError` naming every mistake. */
export function readBrokerConfig(argv: readonly string[], environment = process.env): BrokerConfig {
  const config = readSettings("broker", table, { argv, environment });
  const mistakes: string[] = [];
  if (!namePattern.test(config.name)) {
    mistakes.push(`--name: "${config.name}" is no broker name: letters, digits, "-" and "_", up to 63`);
  }
  if (config.segmentSize < segmentBytesMin || config.segmentSize > segmentBytesMax) {
    mistakes.push(
      "--segment-size must be from 16MiB to 1GiB: a segment holds the largest message and fits into one file",
    );
  }
  if (
    config.advertise === undefined &&
    config.controlPlane !== undefined &&
    wildcardHosts.includes(config.listen.host)
  ) {
    mistakes.push(`--advertise is needed with --listen ${config.listen.host}: no sidecar can connect to that`);
  }
  for (const [flag, ms] of [
    ["--transaction-first-check", config.transactionFirstCheck],
    ["--transaction-check-interval", config.transactionCheckInterval],
    ["--transaction-age-max", config.transactionAgeMax],
    ["--delay-max", config.delayMax],
  ] as const) {
    if (ms < 1 || ms > waitMsMax) mistakes.push(`${flag}: 1ms to 40 days; this is ${ms} ms`);
  }
  if (config.advertise?.port === 0) mistakes.push("--advertise needs a port");
  if (mistakes.length > 0) throw new SettingsError("broker", mistakes);
  return config;
}

export function checkHelp(): string {
  const what =
    "popmesh broker check: reads the data directory of a stopped broker and says what is wrong with it; changes nothing.\n" +
    "Exit code 0: sound; 1: something is lost or damaged; 75: a broker has the directory; 78: a newer release has written it.";
  return `${what}\n\n${describeSettings("broker", { dataDir: table.dataDir })}`;
}

/** The settings as text for `--help`. */
export function brokerHelp(): string {
  return `popmesh broker: stores messages and hands them out to sidecars.\n\n${describeSettings("broker", table)}`;
}
