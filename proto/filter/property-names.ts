/**
 * What RocketMQ keeps among a message's properties although the v2 API has fields of its own for it: a filter can name these
 * too. Applications cannot set user properties of these names (the sidecar refuses them).
 */
export const SystemProperty = {
  /** The tag. */
  Tags: "TAGS",
  /** The keys, joined by a blank. */
  Keys: "KEYS",
  /** The message id. */
  UniqueKey: "UNIQ_KEY",
  /** The message group. */
  ShardingKey: "__SHARDINGKEY",
  /** The W3C trace context. */
  TraceContext: "TRACE_CONTEXT",
  /** Milliseconds since 1970 at which the client made the message. */
  BornTimestamp: "BORN_TIMESTAMP",
  /** Milliseconds since 1970 at which a timed message is due. */
  DeliverMs: "TIMER_DELIVER_MS",
} as const;

/** The names that one filter asks for, numbered from 0; finds the number of a key by its bytes. */
export class PropertyNames {
  readonly names: readonly string[];
  /** Numbers of the system properties; -1: not asked for. */
  readonly tags: number;
  readonly keys: number;
  readonly uniqueKey: number;
  readonly shardingKey: number;
  readonly traceContext: number;
  readonly bornTimestamp: number;
  readonly deliverMs: number;
  /** Some system property is asked for. */
  readonly wantsSystem: boolean;
  readonly #encoded: readonly Buffer[];
  /** Open addressing, at most half full: number + 1, 0 where nothing is. */
  readonly #slots: Uint8Array;
  readonly #lengthMax: number;

  constructor(names: readonly string[]) {
    this.names = names;
    this.#encoded = names.map((name) => Buffer.from(name));
    this.#lengthMax = this.#encoded.reduce((max, { length }) => Math.max(max, length), 0);
    let size = 2;
    while (size < names.length * 2) size *= 2;
    this.#slots = new Uint8Array(size);
    this.#encoded.forEach((bytes, number) => {
      let slot = hash(bytes, 0, bytes.length) & (size - 1);
      while (this.#slots[slot] !== 0) slot = (slot + 1) & (size - 1);
      this.#slots[slot] = number + 1;
    });
    this.tags = names.indexOf(SystemProperty.Tags);
    this.keys = names.indexOf(SystemProperty.Keys);
    this.uniqueKey = names.indexOf(SystemProperty.UniqueKey);
    this.shardingKey = names.indexOf(SystemProperty.ShardingKey);
    this.traceContext = names.indexOf(SystemProperty.TraceContext);
    this.bornTimestamp = names.indexOf(SystemProperty.BornTimestamp);
    this.deliverMs = names.indexOf(SystemProperty.DeliverMs);
    const systemNames: readonly string[] = Object.values(SystemProperty);
    this.wantsSystem = names.some((name) => systemNames.includes(name));
  }

  /** Number of the name with these bytes; -1 when the filter does not ask for it. */
  find(bytes: Buffer, start: number, end: number): number {
    const length = end - start;
    if (length > this.#lengthMax) return -1;
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = hash(bytes, start, end) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const name = this.#encoded[slots[slot]! - 1]!;
      if (name.length !== length) continue;
      let i = 0;
      while (i < length && name[i] === bytes[start + i]) i++;
      if (i === length) return slots[slot]! - 1;
    }
    return -1;
  }
}

function hash(bytes: Buffer, start: number, end: number): number {
  let result = end - start;
  for (let i = start; i < end; i++) result = Math.imul(result ^ bytes[i]!, 0x01000193);
  return result ^ (result >>> 15);
}
