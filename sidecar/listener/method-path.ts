const service = "apache.rocketmq.v2.MessagingService";

/** The full path of an RPC, as it stands in the `:path` header. */
export function methodPath(rpc: string): string {
  return `/${service}/${rpc}`;
}
