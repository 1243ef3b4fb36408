import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { DeliveredMessage } from "../../proto/codec/delivered-message.ts";
import { GeneralCodec, type MessageClass } from "../../proto/codec/general-codec.ts";
import { MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import { readFilterExpression } from "../../proto/filter/filter-expression.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { codecPairs } from "./codec-pairs.ts";
import { mutated } from "./mutated-bytes.ts";
import { pick, randomMessage } from "./random-message.ts";
import { loadSchema, protoFolder } from "./schema.ts";
import { ConditionGenerator } from "./sql-generator.ts";
import { verdictOf } from "./sql-row.ts";
import { encodeVariant } from "./wire-variants.ts";

/** What the fuzzer throws at one decoder. */
interface Target {
  readonly name: string;
  readonly corpus: readonly Buffer[];
  decode(bytes: Buffer): void;
}

export interface FuzzReport {
  readonly inputs: number;
  readonly accepted: number;
  readonly refused: number;
  /** Of one input. */
  readonly slowestMs: number;
  /** Resident memory at the end minus at the beginning. */
  readonly grownBytes: number;
}

/** Limit of one input, of the processor where it is not met on the wall (test plan T10). */
const slowMs = 50;
const suspiciousMs = 5;
const corpusSize = 60;
/** One input in so many is a bomb of up to 4 MiB. */
const bombEvery = 4000;

/** Requests that go through the general codec. */
const generalRequests = [
  "QueryRouteRequest",
  "HeartbeatRequest",
  "SendMessageRequest",
  "QueryAssignmentRequest",
  "ReceiveMessageRequest",
  "AckMessageRequest",
  "ForwardMessageToDeadLetterQueueRequest",
  "EndTransactionRequest",
  "TelemetryCommand",
  "NotifyClientTerminationRequest",
  "ChangeInvisibleDurationRequest",
  "RecallMessageRequest",
  "SyncLiteSubscriptionRequest",
  "PullMessageRequest",
] as const;

/**
 * Damaged messages into every decoder. Throws at the first input that does anything but be taken or be refused with
 * BAD_REQUEST, or that takes longer than `slowMs`; the message holds the decoder and the input.
 */
export function fuzzCodecs(seed: number, inputs: number): FuzzReport {
  // Nearly every input ends with an error; its stack would take half of the time.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return fuzz(seed, inputs);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function fuzz(seed: number, inputs: number): FuzzReport {
  const randomness = new SeededRandomness(seed);
  const targets = makeTargets(randomness);
  let accepted = 0;
  let slowestMs = 0;
  let rssBefore = 0;
  for (let i = 0; i < inputs; i++) {
    if (i === Math.floor(inputs / 10)) rssBefore = process.memoryUsage().rss;
    const target = pick(targets, randomness);
    const seedBytes = pick(target.corpus, randomness);
    const bytes = i % bombEvery === 0 ? bomb(seedBytes, randomness) : mutated(seedBytes, randomness);
    const startedMs = performance.now();
    if (isAccepted(target, bytes)) accepted++;
    let ms = performance.now() - startedMs;
    // A busy machine may pause us: an input is as slow as it is every time, and what others do is not its doing.
    for (let attempt = 0; attempt < 3 && ms > suspiciousMs; attempt++) {
      const before = process.cpuUsage();
      isAccepted(target, bytes);
      const { user, system } = process.cpuUsage(before);
      ms = Math.min(ms, (user + system) / 1_000);
    }
    if (ms > slowMs) throw new Error(`${target.name} took ${ms} ms for ${described(bytes)}`);
    slowestMs = Math.max(slowestMs, ms);
  }
  const grownBytes = process.memoryUsage().rss - rssBefore;
  return { inputs, accepted, refused: inputs - accepted, slowestMs, grownBytes };
}

export function fuzzTable(report: FuzzReport, tookMs: number): string {
  return (
    `${report.inputs} damaged inputs in ${(tookMs / 1000).toFixed(1)} s: ${report.accepted} taken, ${report.refused} refused, ` +
    `0 crashes, slowest ${report.slowestMs.toFixed(1)} ms, memory +${Math.round(report.grownBytes / 1024 / 1024)} MiB`
  );
}

function isAccepted(target: Target, bytes: Buffer): boolean {
  try {
    target.decode(bytes);
    return true;
  } catch (error) {
    if (error instanceof MeshError && error.code === Code.BadRequest) return false;
    throw new Error(`${target.name} failed on ${described(bytes)}`, { cause: error });
  }
}

function described(bytes: Buffer): string {
  return `${bytes.length} bytes: ${bytes.toString("hex", 0, 4096)}`;
}

/** One short part of a message over and over. */
function bomb(bytes: Buffer, randomness: SeededRandomness): Buffer {
  const start = randomIndex(randomness, bytes.length + 1);
  const unit = Buffer.concat([
    bytes.subarray(start, start + 1 + randomIndex(randomness, 16)),
    mutated(bytes, randomness),
  ]);
  const length = 1 + randomIndex(randomness, 12);
  const part = unit.length === 0 ? Buffer.from([0x0a]) : unit.subarray(0, length);
  return Buffer.alloc(pick([1_000, 64_000, 4_000_000], randomness), part);
}

function makeTargets(randomness: SeededRandomness): readonly Target[] {
  const schema = loadSchema(protoFolder, "apache");
  const frames = loadSchema(protoFolder, "popmesh");
  const corpusOf = (typeName: string): Buffer[] => {
    const type = (typeName.startsWith("apache") ? schema : frames).lookupType(typeName);
    return Array.from({ length: corpusSize }, () =>
      encodeVariant(type, randomMessage(type, randomness), randomness, { pieces: true }),
    );
  };
  const targets: Target[] = codecPairs.map((pair) => ({
    name: `the hot reader of ${pair.typeName}`,
    corpus: corpusOf(pair.typeName),
    decode: (bytes) => pair.hot(bytes, 0, bytes.length),
  }));
  for (const name of generalRequests) {
    const messageClass: MessageClass<unknown, never> = apache.rocketmq.v2[name];
    const codec = new GeneralCodec(messageClass, `apache.rocketmq.v2.${name}`);
    targets.push({
      name: `the general codec of ${name}`,
      corpus: corpusOf(codec.typeName),
      decode: (bytes) => codec.decode(bytes),
    });
  }
  const scan = new MessageScan();
  const delivered = new DeliveredMessage();
  targets.push({
    name: "the delivery of a stored message",
    corpus: corpusOf("apache.rocketmq.v2.Message"),
    decode: (bytes) => {
      scanMessage(bytes, 0, bytes.length, scan);
      const response = Buffer.allocUnsafe(delivered.measure(scan));
      if (delivered.write(response, 0) !== response.length) throw new Error("it was measured wrongly");
      apache.rocketmq.v2.ReceiveMessageResponse.decode(response);
    },
  });
  for (const type of [1, 2]) targets.push(filterTarget(type, randomness));
  return targets;
}

/** Filter texts of one type, damaged as bytes; what is taken is evaluated. */
function filterTarget(type: number, randomness: Randomness): Target {
  const generator = new ConditionGenerator(randomness);
  const texts = Array.from({ length: corpusSize }, (_, i) =>
    type === 2 ? generator.condition(3).ours : Array.from({ length: i }, (_, tag) => `tag-${tag}`).join(" || "),
  );
  return {
    name: `the reader of filter expressions of type ${type}`,
    corpus: texts.map((text) => Buffer.from(text)),
    decode: (bytes) => {
      const read = readFilterExpression(type, bytes.toString());
      if (!read.ok) throw new MeshError(Code.BadRequest, read.message);
      if (read.sql !== undefined) verdictOf(read.sql, { n1: "5", d1: "1.5", t1: "abc" });
    },
  };
}
