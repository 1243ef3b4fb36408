import { createHash, hash } from "node:crypto";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { apache } from "#codec/rocketmq-v2";
import { CommandError } from "./api-client.ts";

/*
 * The format of an exported topic (docs/topic-export.md): a folder with
 *
 *     export.json      what it is
 *     messages.ndjson  one line per message: by broker what waits for its time, then in order of queue and offset
 *     bodies.bin       the bodies, one behind the other
 */
const formatName = "popmesh-topic-export";
const formatVersion = 2;
/** Version 1 had nothing that waits for its time. */
const readableVersions: readonly number[] = [1, formatVersion];

/** What `export.json` says. */
export interface ExportHead {
  readonly format: typeof formatName;
  readonly version: number;
  readonly topic: string;
  readonly namespace: string;
  readonly spec: Readonly<Record<string, unknown>>;
  readonly exportedAt: string;
  readonly messages: number;
  /** Those of them that wait for their time. */
  readonly waiting?: number;
  /**
   * SHA-256 over the digests of all messages in order, then over the sorted digests of those that wait for their time: two exports
   * with the same one hold the same messages.
   */
  readonly digest: string;
}

/** One line of `messages.ndjson`. What people look for stands by itself; `envelope` is everything but the body. */
export interface ExportLine {
  readonly broker: string;
  /** Null, both, of a message that waits for its time. */
  readonly queueId: number | null;
  readonly offset: number | null;
  /** When it is delivered, of one that waits: wall clock, ms since 1970. */
  readonly dueMs?: number;
  readonly storedMs: number;
  readonly bornHost: string;
  readonly laneMark: string;
  readonly messageId: string;
  readonly tag: string | null;
  readonly keys: readonly string[];
  readonly messageGroup: string | null;
  readonly properties: Readonly<Record<string, string>>;
  /** Where in `bodies.bin`. */
  readonly body: { readonly at: number; readonly bytes: number; readonly sha256: string };
  /** apache.rocketmq.v2.Message without its body, base64. */
  readonly envelope: string;
}

/** A message as the broker gives it. */
export interface ExportedItem {
  /** Left out, both, of a message that waits for its time. */
  readonly queueId?: number;
  readonly offset?: number;
  readonly dueMs?: number;
  /** Of a message that waits for its time or did: unique at its broker. */
  readonly timedNumber?: number;
  readonly storedMs: number;
  readonly bornHost: string;
  readonly laneMark: string;
  /** apache.rocketmq.v2.Message, base64. */
  readonly message: string;
}

const { Message } = apache.rocketmq.v2;

/** Writes an export. */
export class ExportWriter {
  readonly #directory: string;
  readonly #lines: number;
  readonly #bodies: number;
  readonly #digest = new ExportDigest();
  /** Broker and number of what waited for its time when it was exported: released meanwhile, it is met again in its queue. */
  readonly #waited = new Set<string>();
  #bodyBytes = 0;
  #count = 0;

  /** Throws `CommandError` when the folder exists and holds something. */
  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true });
    if (readdirSync(directory).length > 0) throw new CommandError(`${directory} is not empty; name a new folder`);
    this.#lines = openSync(join(directory, "messages.ndjson"), "wx");
    this.#bodies = openSync(join(directory, "bodies.bin"), "wx");
  }

  get count(): number {
    return this.#count;
  }

  /** Messages of a broker: those that wait for their time first. */
  add(broker: string, item: ExportedItem): void {
    const key = item.timedNumber === undefined ? undefined : `${broker} ${item.timedNumber}`;
    if (key !== undefined) {
      if (this.#waited.has(key)) return;
      if (item.dueMs !== undefined) this.#waited.add(key);
    }
    const message = Message.decode(Buffer.from(item.message, "base64"));
    const { body, systemProperties: system } = message;
    const { queueId = null, offset = null, storedMs, bornHost, laneMark } = item;
    const line: ExportLine = {
      ...{ broker, queueId, offset, ...(item.dueMs === undefined ? {} : { dueMs: item.dueMs }) },
      ...{ storedMs, bornHost, laneMark },
      messageId: system?.messageId ?? "",
      tag: system?.tag ?? null,
      keys: system?.keys ?? [],
      messageGroup: system?.messageGroup ?? null,
      properties: message.userProperties,
      body: { at: this.#bodyBytes, bytes: body.length, sha256: hash("sha256", body, "hex") },
      envelope: Buffer.from(Message.encode({ ...fieldsOf(message), body: new Uint8Array(0) }).finish()).toString(
        "base64",
      ),
    };
    writeSync(this.#bodies, body);
    writeSync(this.#lines, `${JSON.stringify(line)}\n`);
    this.#bodyBytes += body.length;
    this.#digest.add(line);
    this.#count++;
  }

  finish(head: Pick<ExportHead, "topic" | "namespace" | "spec" | "exportedAt">): ExportHead {
    closeSync(this.#lines);
    closeSync(this.#bodies);
    const whole: ExportHead = {
      ...{ format: formatName, version: formatVersion },
      ...head,
      messages: this.#count,
      waiting: this.#waited.size,
      digest: this.#digest.value(),
    };
    // Last: an export without it was interrupted.
    writeFileSync(join(this.#directory, "export.json"), `${JSON.stringify(whole, null, 2)}\n`);
    return whole;
  }
}

/** Reads an export and proves it: throws `CommandError` when it is none, or not as it was written. */
export class ExportReader {
  readonly head: ExportHead;
  readonly #directory: string;
  readonly #bodies: number;

  constructor(directory: string) {
    this.#directory = directory;
    try {
      this.head = JSON.parse(readFileSync(join(directory, "export.json"), "utf8")) as ExportHead;
      this.#bodies = openSync(join(directory, "bodies.bin"), "r");
    } catch (error) {
      throw new CommandError(`${directory} is no finished export: ${error instanceof Error ? error.message : error}`);
    }
    if (this.head.format !== formatName || !readableVersions.includes(this.head.version)) {
      throw new CommandError(`${directory} has format ${this.head.format} ${this.head.version}, not ${formatVersion}`);
    }
  }

  /** Every line, in order; throws where the export is damaged, before anything of it is used. */
  verified(): ExportLine[] {
    const digest = new ExportDigest();
    const text = readFileSync(join(this.#directory, "messages.ndjson"), "utf8");
    const lines = text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as ExportLine);
    for (const line of lines) {
      if (hash("sha256", this.#body(line), "hex") !== line.body.sha256) {
        throw new CommandError(`the body of ${line.messageId} in ${this.#directory} is damaged; nothing was imported`);
      }
      digest.add(line);
    }
    if (lines.length !== this.head.messages || digest.value() !== this.head.digest) {
      throw new CommandError(`${this.#directory} is not as it was exported; nothing was imported`);
    }
    return lines;
  }

  /** The whole message of a line, base64. */
  message(line: ExportLine): string {
    const envelope = Message.decode(Buffer.from(line.envelope, "base64"));
    return Buffer.from(Message.encode({ ...fieldsOf(envelope), body: this.#body(line) }).finish()).toString("base64");
  }

  close(): void {
    closeSync(this.#bodies);
  }

  #body({ body }: ExportLine): Buffer {
    const bytes = Buffer.alloc(body.bytes);
    readSync(this.#bodies, bytes, 0, body.bytes, body.at);
    return bytes;
  }
}

/** Field by field: what a decoded message leaves at its default is no property of its own. */
function fieldsOf({ topic, userProperties, systemProperties }: apache.rocketmq.v2.Message) {
  return { topic, userProperties, systemProperties };
}

/** Of all messages of an export. What waits has no place in an order, and is put into one by its digests. */
class ExportDigest {
  readonly #hash = createHash("sha256");
  readonly #waiting: string[] = [];

  add(line: ExportLine): void {
    if (line.queueId === null) this.#waiting.push(digestOf(line));
    else this.#hash.update(digestOf(line));
  }

  /** To be called once. */
  value(): string {
    for (const digest of this.#waiting.sort()) this.#hash.update(digest);
    return this.#hash.digest("hex");
  }
}

/** What makes a message this message, wherever it lies. */
function digestOf({ queueId, dueMs, messageId, tag, keys, messageGroup, properties, body }: ExportLine): string {
  const sorted = Object.entries(properties).sort(([a], [b]) => (a < b ? -1 : 1));
  const place = queueId ?? { dueMs };
  return hash("sha256", JSON.stringify([place, messageId, tag, keys, messageGroup, sorted, body.sha256]), "hex");
}
