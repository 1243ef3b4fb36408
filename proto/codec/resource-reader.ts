import { readCachedText } from "./field.ts";
import { next, readTag, skipValue, WireType } from "./wire.ts";

/** An `apache.rocketmq.v2.Resource`: the name of a topic or group. */
export class ResourceReader {
  namespace = "";
  name = "";

  clear(): void {
    this.namespace = "";
    this.name = "";
  }

  /** Adds what `bytes[start, end)` says; a message that comes in two pieces is merged so. Leaves `next` at `end`. */
  merge(bytes: Buffer, start: number, end: number): void {
    for (let at = start; at < end; at = next) {
      const tag = readTag(bytes, at, end);
      if (tag === ((1 << 3) | WireType.Bytes)) this.namespace = readCachedText(bytes, next, end);
      else if (tag === ((2 << 3) | WireType.Bytes)) this.name = readCachedText(bytes, next, end);
      else skipValue(bytes, next, end, tag);
    }
  }
}
