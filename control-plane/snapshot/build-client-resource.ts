import { envoy } from "#codec/xds-v3";
import { clusterNameOf } from "../resource/broker.ts";
import { ResourceEntry } from "./resource-table.ts";
import { ResourceType } from "./resource-type.ts";

const { http_connection_manager: httpConnectionManager } = envoy.extensions.filters.network;
const { HttpConnectionManager } = httpConnectionManager.v3;
const { Router } = envoy.extensions.filters.http.router.v3;
const googleTypePrefix = "type.googleapis.com/";

/** Number of the Envoy enum ApiVersion. */
const apiV3 = 2;

/**
 * What a gRPC client library needs before it asks for a Cluster: it resolves `xds:///<broker name>` to the Listener of that name,
 * the Listener to a RouteConfiguration, that to the Cluster; these two are named like the Cluster. The Listener is not: its name
 * becomes the authority of every call, in which HTTP/2 takes no slash. Sidecars ask for neither.
 */
export function buildListener(brokerName: string): ResourceEntry {
  const routes = clusterNameOf(brokerName);
  const manager = HttpConnectionManager.encode({
    statPrefix: brokerName,
    rds: { configSource: { ads: {}, resourceApiVersion: apiV3 }, routeConfigName: routes },
    httpFilters: [
      {
        name: "router",
        typedConfig: {
          type_url: `${googleTypePrefix}envoy.extensions.filters.http.router.v3.Router`,
          value: Router.encode({}).finish(),
        },
      },
    ],
  }).finish();
  const bytes = envoy.config.listener.v3.Listener.encode({
    name: brokerName,
    apiListener: {
      apiListener: {
        type_url: `${googleTypePrefix}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
        value: manager,
      },
    },
  }).finish();
  return new ResourceEntry(ResourceType.Listener, brokerName, bytes);
}

/** Every call of every host goes to the Cluster of the same name. */
export function buildRouteConfiguration(brokerName: string): ResourceEntry {
  const name = clusterNameOf(brokerName);
  const bytes = envoy.config.route.v3.RouteConfiguration.encode({
    name,
    virtualHosts: [{ name, domains: ["*"], routes: [{ match: { prefix: "" }, route: { cluster: name } }] }],
  }).finish();
  return new ResourceEntry(ResourceType.RouteConfiguration, name, bytes);
}
