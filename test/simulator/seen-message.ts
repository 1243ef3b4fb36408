import { apache } from "#codec/rocketmq-v2";
import { crc32 } from "../../broker-core/commit-log/crc32.ts";

/** Of the bytes as they came. */
export function digestOf(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return `${bytes.length}:${crc32(buffer, 0, buffer.length).toString(16)}`;
}

/** What the history says about a message that came. */
export function factsOf(message: Uint8Array): { readonly id: string; readonly tag?: string; readonly key?: string } {
  const { systemProperties } = apache.rocketmq.v2.Message.decode(message);
  const { messageId = "", tag, messageGroup } = systemProperties ?? {};
  return {
    id: messageId ?? "",
    ...(tag ? { tag } : {}),
    ...(messageGroup ? { key: messageGroup } : {}),
  };
}
