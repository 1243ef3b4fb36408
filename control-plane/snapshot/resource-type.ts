/** The types of docs/xds-resources.md, as type URLs of the discovery service. */
export const ResourceType = {
  Cluster: "type.googleapis.com/envoy.config.cluster.v3.Cluster",
  Endpoints: "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
  Listener: "type.googleapis.com/envoy.config.listener.v3.Listener",
  RouteConfiguration: "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
  RateLimit: "type.googleapis.com/popmesh.v1.RateLimit",
  NamespacePolicy: "type.googleapis.com/popmesh.v1.NamespacePolicy",
  GroupPolicy: "type.googleapis.com/popmesh.v1.ConsumerGroupPolicy",
  TopicRoute: "type.googleapis.com/popmesh.v1.TopicRoute",
} as const;
export type ResourceType = (typeof ResourceType)[keyof typeof ResourceType];

/** What is referred to goes out before what refers to it (make before break). Types we do not know come last. */
export const flushOrder: readonly string[] = [
  ResourceType.Cluster,
  ResourceType.Endpoints,
  ResourceType.Listener,
  ResourceType.RouteConfiguration,
  ResourceType.RateLimit,
  ResourceType.NamespacePolicy,
  ResourceType.GroupPolicy,
  ResourceType.TopicRoute,
];

/** Place of a type in the flush order. */
export function flushRank(typeUrl: string): number {
  const rank = flushOrder.indexOf(typeUrl);
  return rank < 0 ? flushOrder.length : rank;
}
