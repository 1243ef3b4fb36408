import { AdminServer, jsonAnswer, textAnswer } from "../../proto/runtime/admin-server.ts";
import type { Log } from "../../proto/runtime/log.ts";
import type { MetricRegistry } from "../../proto/runtime/metric.ts";
import type { HostAndPort } from "../../proto/runtime/settings.ts";
import type { Catalog } from "../catalog/catalog.ts";
import type { LimitStanding } from "../limit/limit-shares.ts";
import type { BrokerOperator } from "../operation/broker-operator.ts";
import type { DrainKeeper } from "../operation/drain-keeper.ts";
import type { LanePublisher } from "../operation/lane-publisher.ts";
import type { BrokerLeases } from "../registry/broker-leases.ts";
import type { NamespaceSpec } from "../resource/namespace.ts";
import type { RolloutController } from "../rollout/rollout-controller.ts";
import type { Store } from "../store/store.ts";
import type { AdsServer } from "../xds/ads-server.ts";
import { addApiRoutes } from "./api-routes.ts";
import { addDrainRoutes } from "./drain-routes.ts";
import { addExplainRoutes } from "./explain-routes.ts";
import { laneDryRun } from "./lane-dry-run.ts";
import { addLaneRoutes } from "./lane-routes.ts";
import { addNamespaceRoutes } from "./namespace-routes.ts";
import { addOperationRoutes } from "./operation-routes.ts";
import { addRateLimitRoutes } from "./rate-limit-routes.ts";
import { addRolloutRoutes } from "./rollout-routes.ts";
import { adminOf, sidecarView } from "./sidecar-view.ts";
import { addVersionRoutes } from "./version-routes.ts";

/** Longest body: a file with some ten thousand topics, or a page of messages to import. */
const bodyBytesMax = 12 * 1024 * 1024;

/** Lines of the audit trail that one answer holds. */
const auditLinesDefault = 100;
const auditLinesMax = 10_000;

export interface ApiOptions {
  readonly catalog: Catalog;
  readonly store: Store;
  readonly ads: AdsServer;
  readonly leases: BrokerLeases;
  readonly brokers: BrokerOperator;
  readonly lanes: LanePublisher;
  readonly rollouts: RolloutController;
  readonly drains: DrainKeeper;
  /** What each sidecar may be using of a rate limit. */
  readonly limitStandings: (name: string) => readonly LimitStanding[];
  readonly namespaceDefaults: NamespaceSpec;
  readonly metrics: MetricRegistry;
  readonly log: Log;
  readonly config: { readonly allowedHosts: string };
}

/** The HTTP API. It listens when the store is loaded, so whoever gets an answer gets a true one. */
export class ApiServer {
  readonly #server: AdminServer;

  constructor(options: ApiOptions) {
    const allowedHosts = options.config.allowedHosts.split(",").filter((name) => name !== "");
    const server = new AdminServer({ log: options.log, allowedHosts, bodyBytesMax });
    this.#server = server;
    server.route("GET", "/ready", () => textAnswer(200, "LIVE"));
    server.route("GET", "/healthz", () => textAnswer(200, "OK"));
    server.route("GET", "/stats/prometheus", () => ({
      status: 200,
      contentType: "text/plain; version=0.0.4; charset=utf-8",
      body: options.metrics.prometheusText(),
    }));
    server.route("GET", "/v1/audit", ({ query }) => {
      const asked = Number(query.get("limit") ?? auditLinesDefault);
      const count = Number.isInteger(asked) && asked >= 1 ? Math.min(asked, auditLinesMax) : auditLinesDefault;
      return jsonAnswer(200, { items: options.store.audit(count) });
    });
    const { catalog, lanes } = options;
    const laneContext = {
      namespaceDefaults: options.namespaceDefaults,
      generationSeen: (ruleKey: string) => lanes.generationSeen(ruleKey),
    };
    const sidecarLanes = () => options.ads.reports().map(({ node }) => node?.cluster ?? "");
    addApiRoutes(server, {
      ...{ catalog, laneContext },
      isAlive: (name) => options.leases.isAlive(name),
      dryRun: (rule, sinceMs) => laneDryRun(options.brokers, rule, sinceMs, sidecarLanes()),
      sidecars: () => options.ads.reports().map(sidecarView),
    });
    addDrainRoutes(server, {
      catalog,
      isAlive: (name) => options.leases.isAlive(name),
      progress: (name) => options.drains.progress(name),
    });
    addLaneRoutes(server, { catalog, laneContext, standings: (rule) => lanes.standings(rule) });
    addRolloutRoutes(server, { catalog, laneContext, lookOf: (key) => options.rollouts.lookOf(key) });
    addExplainRoutes(server, {
      ...{ catalog, brokers: options.brokers },
      standings: (rule) => lanes.standings(rule),
      sidecarLanes,
    });
    addOperationRoutes(server, options.brokers, options.catalog, () =>
      options.ads.reports().flatMap((report) => {
        // Of other clients of the discovery service nobody switches anything.
        if (report.node?.userAgentName !== "popmesh-sidecar") return [];
        return [{ id: report.node.id, lane: report.node.cluster, admin: adminOf(report) }];
      }),
    );
    addNamespaceRoutes(server, catalog, laneContext);
    addRateLimitRoutes(server, catalog, options.limitStandings);
    addVersionRoutes(server, catalog, laneContext);
  }

  listen(at: HostAndPort): Promise<number> {
    return this.#server.listen(at);
  }

  close(): Promise<void> {
    return this.#server.close();
  }
}
