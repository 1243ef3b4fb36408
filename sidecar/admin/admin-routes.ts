import { type AdminServer, jsonAnswer, textAnswer } from "../../proto/runtime/admin-server.ts";
import type { Log } from "../../proto/runtime/log.ts";
import type { MetricRegistry } from "../../proto/runtime/metric.ts";
import type { ClusterManager } from "../cluster/cluster-manager.ts";
import type { SidecarConfig } from "../config.ts";
import type { LimitTable } from "../limit/limit-table.ts";
import type { MeshConfig } from "../xds/mesh-config.ts";
import { clusterReport, clusterText } from "./cluster-report.ts";
import { configDump } from "./config-dump.ts";

/** "initializing" until there is something to serve by, "draining" from the first SIGTERM on. */
export type Readiness = "initializing" | "live" | "draining";

export interface AdminSubject {
  readonly config: SidecarConfig;
  readonly meshConfig: MeshConfig;
  readonly limits: LimitTable;
  readonly clusters: ClusterManager;
  readonly metrics: MetricRegistry;
  readonly log: Log;
  /** The kill switch. */
  readonly lanes: { readonly lane: string; isOff(): boolean; turn(isOff: boolean): Promise<void> };
  readiness(): Readiness;
  /** Begins a drain; the process ends when it is over. */
  drain(): void;
}

const readinessText: Readonly<Record<Readiness, string>> = {
  initializing: "INITIALIZING: the control plane has not answered yet and there is no last good configuration",
  live: "LIVE",
  draining: "DRAINING",
};
const logLevels: readonly string[] = ["debug", "info", "warn", "error", "silent"];

/** The admin port: Envoy's paths, where it has them. */
export function defineAdminRoutes(server: AdminServer, subject: AdminSubject): void {
  server.route("GET", "/ready", () => {
    const readiness = subject.readiness();
    return textAnswer(readiness === "live" ? 200 : 503, readinessText[readiness]);
  });
  server.route("GET", "/healthz", () => textAnswer(200, "OK"));
  server.route("GET", "/stats/prometheus", () => ({
    status: 200,
    contentType: "text/plain; version=0.0.4; charset=utf-8",
    body: subject.metrics.prometheusText(),
  }));
  server.route("GET", "/config_dump", () =>
    jsonAnswer(200, configDump(subject.config, subject.meshConfig, subject.limits)),
  );
  server.route("GET", "/clusters", (request) => {
    const report = clusterReport(subject.clusters);
    return request.query.get("format") === "json" ? jsonAnswer(200, report) : textAnswer(200, clusterText(report));
  });
  server.route("POST", "/drain", () => {
    subject.drain();
    return textAnswer(200, "draining; the process ends when its clients are gone, after 25 s at the latest");
  });
  const lanes = () => ({ lane: subject.lanes.lane, state: subject.lanes.isOff() ? "off" : "on" });
  server.route("GET", "/lanes", () => jsonAnswer(200, lanes()));
  server.route("POST", "/lanes", async (request) => {
    const state = request.query.get("state");
    if (state !== "off" && state !== "on") return jsonAnswer(400, { error: "POST /lanes?state=off or ?state=on" });
    await subject.lanes.turn(state === "off");
    return jsonAnswer(200, lanes());
  });
  server.route("POST", "/logging", (request) => {
    const level = request.query.get("level");
    if (level === null) return textAnswer(200, `level: ${subject.log.level}`);
    if (!logLevels.includes(level)) return textAnswer(400, `level must be one of ${logLevels.join(", ")}`);
    subject.log.level = level;
    return textAnswer(200, `level: ${level}`);
  });
}
