import { createHash, hash } from "node:crypto";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { apache } from "#codec/rocketmq-v2";
import { CommandError } from "./api-client.ts";

/*
 * The format of an exported topic (docs/topic-export.md): a folder with
 *
 *     export.json      what it is
 *     messages.ndjson  one line per message, in order of broker, queue and offset
 *     bodies.bin       the bodies, one behind the other
 */
const formatName = "popmesh-topic-export";
const formatVersion = 1;

/** What `export.json` says. */
export interface ExportHead {
  readonly format: typeof formatName;
  readonly version: number;
  readonly topic: string;
  readonly namespace: string;
  readonly spec: Readonly<Record<string, unknown>>;
  readonly exportedAt: string;
  readonly messages: number;
  /** SHA-256 over the digests of all messages in order: two exports with the same one hold the same messages. */
  readonly digest: string;
}

/** One line of `messages.ndjson`. What people look for stands by itself; `envelope` is everything but the body. */
export interface ExportLine {
  readonly broker: string;
  readonly queueId: number;
  readonly offset: number;
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
  readonly queueId: number;
  readonly offset: number;
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
  readonly #digest = createHash("sha256");
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

  add(broker: string, item: ExportedItem): void {
    const message = Message.decode(Buffer.from(item.message, "base64"));
    const { body, systemProperties: system } = message;
    const { queueId, offset, storedMs, bornHost, laneMark } = item;
    const line: ExportLine = {
      ...{ broker, queueId, offset, storedMs, bornHost, laneMark },
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
    this.#digest.update(digestOf(line));
    this.#count++;
  }

  finish(head: Pick<ExportHead, "topic" | "namespace" | "spec" | "exportedAt">): ExportHead {
    closeSync(this.#lines);
    closeSync(this.#bodies);
    const whole: ExportHead = {
      ...{ format: formatName, version: formatVersion },
      ...head,
      messages: this.#count,
      digest: this.#digest.digest("hex"),
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
    if (this.head.format !== formatName || this.head.version !== formatVersion) {
      throw new CommandError(`${directory} has format ${this.head.format} ${this.head.version}, not ${formatVersion}`);
    }
  }

  /** Every line, in order; throws where the export is damaged, before anything of it is used. */
  verified(): ExportLine[] {
    const digest = createHash("sha256");
    const text = readFileSync(join(this.#directory, "messages.ndjson"), "utf8");
    const lines = text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as ExportLine);
    for (const line of lines) {
      if (hash("sha256", this.#body(line), "hex") !== line.body.sha256) {
        throw new CommandError(`the body of ${line.messageId} in ${this.#directory} is damaged; nothing was imported`);
      }
      digest.update(digestOf(line));
    }
    if (lines.length !== this.head.messages || digest.digest("hex") !== this.head.digest) {
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

/** What makes a message this message, wherever it lies. */
function digestOf({ queueId, messageId, tag, keys, messageGroup, properties, body }: ExportLine): string {
  const sorted = Object.entries(properties).sort(([a], [b]) => (a < b ? -1 : 1));
  return hash("sha256", JSON.stringify([queueId, messageId, tag, keys, messageGroup, sorted, body.sha256]), "hex");
}
