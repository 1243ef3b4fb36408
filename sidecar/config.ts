import { laneNameProblem } from "../proto/lane/lane-rule.ts";
import {
  address,
  bytes,
  choice,
  describeSettings,
  durationMs,
  type HostAndPort,
  integer,
  readSettings,
  type Settings,
  SettingsError,
  text,
  toggle,
} from "../proto/runtime/settings.ts";
import { namesIn } from "./filter/namespace-binding.ts";
import { refuseNamespace } from "./filter/resource-name.ts";
import { baseLane } from "./lane/lane.ts";
import { laneLabel, laneOfLabels } from "./lane/lane-label.ts";

const table = {
  listen: address("where applications connect", "127.0.0.1:8081"),
  admin: address("admin port", "127.0.0.1:15000"),
  controlPlane: address("xDS port of the control plane", "127.0.0.1:18000"),
  dataDir: text("directory for the last good configuration and the certificate", "./.popmesh/sidecar"),
  lane: text(
    "lane of the application behind this sidecar; also POPMESH_LANE; empty: that of its labels, else base",
    "",
  ),
  labels: text(`labels of the workload, name=value with commas: ${laneLabel} names its lane; also POPMESH_LABELS`, ""),
  namespace: text(
    "namespaces of the applications, with commas; others are refused, the first is that of clients that name none; empty: any, and default",
    "",
  ),
  tls: choice("TLS beside cleartext on the application port", "auto", ["auto", "off"]),
  tlsCertificate: text("certificate chain file, PEM; empty: a self-signed one is made", ""),
  tlsKey: text("private key file, PEM", ""),
  logLevel: choice("least level of log lines", "info", ["debug", "info", "warn", "error", "silent"]),
  accessLog: choice("which calls get a log line", "errors", ["off", "errors", "all"]),
  memoryMax: bytes("resident memory beyond which load is shed", "256MiB"),
  sendsMax: integer("sends waiting for their answer", 4_096, 1, 1_000_000),
  receivesMax: integer("receives waiting for messages", 100_000, 1, 1_000_000),
  requestBytesMax: bytes("bytes of calls waiting for their answer", "64MiB"),
  connectionsMax: integer("connections of applications", 1_024, 1, 100_000),
  removalGrace: durationMs("how long a removed topic with recent traffic is still served", "60s"),
  drainServe: durationMs("how long acks and sends are served after SIGTERM", "20s"),
  drainTotal: durationMs("when a drain ends at the latest", "25s"),
  supervised: toggle("end when standard input ends", false),
};

/** Everything that can be set about a sidecar: complete, checked, frozen. */
export type SidecarConfig = Settings<typeof table>;
export type { HostAndPort };

/** Reads flags, environment (`POPMESH_SIDECAR_*`) and config file. Throws `SettingsError` naming every mistake. */
export function readSidecarConfig(argv: readonly string[], environment = process.env): SidecarConfig {
  const given = readSettings("sidecar", table, { argv, environment: withShortNames(environment) });
  const mistakes: string[] = [];
  const labelled = laneOfLabels(given.labels);
  if ("problem" in labelled) mistakes.push(`--labels: ${labelled.problem}`);
  const ofLabels = "problem" in labelled ? undefined : labelled.lane;
  const config = Object.freeze({ ...given, lane: given.lane || ofLabels || baseLane });
  const laneProblem = laneNameProblem(config.lane);
  if (laneProblem !== undefined) {
    const source = given.lane === "" ? `--labels: ${laneLabel}` : "--lane:";
    mistakes.push(`${source} "${config.lane}" is no lane: its name ${laneProblem}`);
  }
  for (const namespace of namesIn(config.namespace)) {
    const refusal = refuseNamespace(namespace);
    if (refusal !== undefined) mistakes.push(`--namespace: ${refusal.message}`);
  }
  if ((config.tlsCertificate === "") !== (config.tlsKey === "")) {
    mistakes.push("--tls-certificate and --tls-key belong together; give both or none");
  }
  if (config.drainServe > config.drainTotal) mistakes.push("--drain-serve is longer than --drain-total");
  if (mistakes.length > 0) throw new SettingsError("sidecar", mistakes);
  return config;
}

/** A deployment sets short variables per workload; the sidecar's own ones are the more particular. */
function withShortNames(environment: typeof process.env): typeof process.env {
  const { POPMESH_LANE: lane, POPMESH_LABELS: labels } = environment;
  return {
    ...(lane === undefined ? {} : { POPMESH_SIDECAR_LANE: lane }),
    ...(labels === undefined ? {} : { POPMESH_SIDECAR_LABELS: labels }),
    ...environment,
  };
}

/** The settings as text for `--help`. */
export function sidecarHelp(): string {
  return `popmesh sidecar: the local end of the mesh; applications connect to it with a RocketMQ 5 SDK.\n\n${describeSettings("sidecar", table)}`;
}
