import { Code } from "../../proto/code.ts";
import type { MetricRegistry } from "../../proto/runtime/metric.ts";
import { continueCall, type Filter, type FilterVerdict, type MeshCall } from "./filter.ts";

/** How much a sidecar takes on at once. */
export interface AdmissionLimits {
  /** Sends that are not answered yet. */
  readonly sendsMax: number;
  /** Receives that are parked or being answered. */
  readonly receivesMax: number;
  /** Bytes of requests that are not answered yet. */
  readonly requestBytesMax: number;
  /** Resident memory of the process. Beyond 85 % receives end empty, beyond 95 % sends are refused; acks never are. */
  readonly memoryBytesMax: number;
}

const receiveMemoryFraction = 0.85;
const sendMemoryFraction = 0.95;

/**
 * Sheds what the process cannot take, cheaply and before any work is done. Whatever a consumer needs to finish what it
 * holds (ack, change, heartbeat) is always let through: refusing it would only create more work.
 */
export class AdmissionFilter implements Filter {
  readonly name = "admission";
  readonly #limits: AdmissionLimits;
  #isDraining = false;
  #memoryBytes = 0;
  #sends = 0;
  #receives = 0;
  #requestBytes = 0;

  constructor(limits: AdmissionLimits, metrics: MetricRegistry) {
    this.#limits = limits;
    metrics.gaugeOf("popmesh_sidecar_sends_open", "Sends not answered yet.", () => this.#sends);
    metrics.gaugeOf("popmesh_sidecar_receives_open", "Receives not answered yet.", () => this.#receives);
    metrics.gaugeOf("popmesh_sidecar_request_bytes_open", "Bytes of calls not answered yet.", () => this.#requestBytes);
  }

  /** From now on receives are answered empty; everything else is served until the process ends. */
  drain(): void {
    this.#isDraining = true;
  }

  /** The latest measurement of resident memory. */
  noteMemory(bytes: number): void {
    this.#memoryBytes = bytes;
  }

  /** Whether parked receives should end to make room. */
  get wantsFewerReceives(): boolean {
    return this.#isDraining || this.#memoryBytes > this.#limits.memoryBytesMax * receiveMemoryFraction;
  }

  onCall(call: MeshCall): FilterVerdict {
    if (call.rpc === "SendMessage") {
      if (this.#memoryBytes > this.#limits.memoryBytesMax * sendMemoryFraction) return outOfMemory;
      if (this.#sends >= this.#limits.sendsMax) return tooManySends;
      if (this.#requestBytes + call.requestBytes > this.#limits.requestBytesMax) return tooManyBytes;
      this.#sends++;
    } else if (call.rpc === "ReceiveMessage") {
      if (this.#isDraining) return draining;
      if (this.wantsFewerReceives) return receivesPaused;
      if (this.#receives >= this.#limits.receivesMax) return tooManyReceives;
      this.#receives++;
    }
    this.#requestBytes += call.requestBytes;
    return continueCall;
  }

  onAnswer(call: MeshCall): void {
    if (call.rpc === "SendMessage") this.#sends--;
    else if (call.rpc === "ReceiveMessage") this.#receives--;
    this.#requestBytes -= call.requestBytes;
  }
}

const draining = answer(Code.MessageNotFound, "this sidecar is stopping; nothing new is handed out");
const receivesPaused = answer(Code.MessageNotFound, "this sidecar is short of memory; nothing is handed out for now");
const tooManyReceives = answer(Code.TooManyRequests, "polling full: too many receives wait at this sidecar");
const outOfMemory = answer(Code.TooManyRequests, "this sidecar is out of memory; send again later");
const tooManySends = answer(Code.TooManyRequests, "too many sends are waiting for their answer at this sidecar");
const tooManyBytes = answer(Code.TooManyRequests, "too many bytes are waiting for their answer at this sidecar");

function answer(code: Code, message: string): FilterVerdict {
  return { kind: "answer", code, message };
}
