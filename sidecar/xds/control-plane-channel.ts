import { type ChannelOptions, Client, credentials } from "@grpc/grpc-js";
import type { HostAndPort } from "../../proto/runtime/settings.ts";

/** The control plane answers pings; silence of 40 s in all means that it is gone although the connection looks open. */
const keepaliveMs = 30_000;
const keepaliveTimeoutMs = 10_000;

/** Larger responses are split by the server; one beyond this is an attack or a bug and ends the stream. */
const responseBytesMax = 4 * 1024 * 1024;

/** The one gRPC channel to the control plane: configuration stream and registry share it. */
export function openControlPlaneChannel(at: HostAndPort): Client {
  const options: ChannelOptions = {
    "grpc.keepalive_time_ms": keepaliveMs,
    "grpc.keepalive_timeout_ms": keepaliveTimeoutMs,
    "grpc.max_receive_message_length": responseBytesMax,
    // Our own back-off decides when to try again; the channel's must not add to it.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1_000,
    "grpc.enable_retries": 0,
    "grpc.enable_channelz": 0,
    "grpc.use_local_subchannel_pool": 1,
  };
  const host = at.host.includes(":") ? `[${at.host}]` : at.host;
  return new Client(`${host}:${at.port}`, credentials.createInsecure(), options);
}
