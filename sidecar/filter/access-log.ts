import { Code, codeName } from "../../proto/code.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import type { Counter, Histogram, MetricRegistry } from "../../proto/runtime/metric.ts";
import { continueCall, type Filter, type FilterVerdict, type MeshCall } from "./filter.ts";

/** "errors" leaves out what went well and the empty receives that every idle consumer causes. */
export type AccessLogMode = "off" | "errors" | "all";

/** Failing clients come in crowds; a log that fills the disk helps nobody. The counters count all. */
const errorLinesPerSecondMax = 50;

/** First filter: sees every answer, whoever gave it. Counts it, times it and, as told, writes a line. */
export class AccessLogFilter implements Filter {
  readonly name = "access-log";
  readonly #mode: AccessLogMode;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #metrics: MetricRegistry;
  readonly #byRpc = new Map<string, RpcMetrics>();
  readonly #suppressed: Counter;
  #second = 0;
  #linesThisSecond = 0;

  constructor(mode: AccessLogMode, clock: Clock, log: Log, metrics: MetricRegistry) {
    this.#mode = mode;
    this.#clock = clock;
    this.#log = log;
    this.#metrics = metrics;
    this.#suppressed = metrics.counter(
      "popmesh_sidecar_access_log_suppressed_total",
      "Access log lines not written because there were too many in that second.",
    );
  }

  onCall(_call: MeshCall): FilterVerdict {
    return continueCall;
  }

  onAnswer(call: MeshCall, code: Code): void {
    const elapsedMs = this.#clock.monotonicMs() - call.startedMs;
    let rpc = this.#byRpc.get(call.rpc);
    if (rpc === undefined) this.#byRpc.set(call.rpc, (rpc = new RpcMetrics(this.#metrics, call.rpc)));
    rpc.count(code, elapsedMs);
    if (this.#mode === "off") return;
    const isQuiet = code === Code.Ok || code === Code.MessageNotFound;
    if (this.#mode === "errors" && (isQuiet || this.#isOverLineRate())) return;
    this.#log.info(
      {
        rpc: call.rpc,
        code: codeName(code),
        ms: Math.round(elapsedMs * 1000) / 1000,
        client: call.clientId,
        peer: call.remoteAddress,
        namespace: call.namespace,
        topic: call.topic,
        group: call.group,
        bytes: call.requestBytes,
        lane: call.lane,
        cluster: call.cluster,
        attempts: call.attempts,
      },
      "access",
    );
  }

  #isOverLineRate(): boolean {
    const second = Math.floor(this.#clock.monotonicMs() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#linesThisSecond = 0;
    }
    this.#linesThisSecond++;
    if (this.#linesThisSecond <= errorLinesPerSecondMax) return false;
    this.#suppressed.add();
    return true;
  }
}

/** Counters of one RPC; found once, then plain field increments. */
class RpcMetrics {
  readonly #metrics: MetricRegistry;
  readonly #rpc: string;
  readonly #durations: Histogram;
  readonly #ok: Counter;
  readonly #byCode = new Map<Code, Counter>();

  constructor(metrics: MetricRegistry, rpc: string) {
    this.#metrics = metrics;
    this.#rpc = rpc;
    this.#durations = metrics.histogram("popmesh_sidecar_call_duration_seconds", "Time to the answer.", { rpc });
    this.#ok = this.#counter(Code.Ok);
  }

  count(code: Code, elapsedMs: number): void {
    this.#durations.observe(elapsedMs / 1000);
    if (code === Code.Ok) {
      this.#ok.add();
      return;
    }
    let counter = this.#byCode.get(code);
    if (counter === undefined) this.#byCode.set(code, (counter = this.#counter(code)));
    counter.add();
  }

  #counter(code: Code): Counter {
    return this.#metrics.counter("popmesh_sidecar_calls_total", "Answered calls.", {
      rpc: this.#rpc,
      code: codeName(code),
    });
  }
}
