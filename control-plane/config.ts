import {
  address,
  choice,
  describeSettings,
  durationMs,
  readSettings,
  type Settings,
  text,
  toggle,
} from "../proto/runtime/settings.ts";

const table = {
  xds: address("where sidecars and brokers connect (xDS and registry)", "127.0.0.1:18000"),
  api: address("HTTP API", "127.0.0.1:18080"),
  dataDir: text("directory of the store", "./.popmesh/control-plane"),
  bootstrap: toggle("allow an empty store to be created where there is none", false),
  acceptEmptyStore: toggle("serve a store that has lost more than half of its content", false),
  autoCreate: choice("create topics and groups on first use; policy of new namespaces", "off", ["on", "off"]),
  brokerLease: durationMs("how long a broker counts as alive without renewing", "10s"),
  allowedHosts: text("names beside localhost that the HTTP API answers to, separated by commas", ""),
  logLevel: choice("least level of log lines", "info", ["debug", "info", "warn", "error", "silent"]),
  supervised: toggle("stop when standard input ends, as under popmesh up", false),
};

/** Settings of a control plane, complete and frozen. */
export type ControlPlaneConfig = Settings<typeof table>;

/** From flags, `POPMESH_CONTROL_PLANE_*` variables and the config file. Throws `SettingsError` with all mistakes. */
export function readControlPlaneConfig(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>> = process.env,
): ControlPlaneConfig {
  return readSettings("control-plane", table, { argv, environment });
}

/** Text for `--help`. */
export function describeControlPlaneConfig(): string {
  return describeSettings("control-plane", table);
}
