import { Client, credentials } from "@grpc/grpc-js";
import { popmesh } from "#codec/popmesh-v1";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import { fullJitter, type Randomness } from "../../proto/runtime/randomness.ts";
import type { HostAndPort } from "../../proto/runtime/settings.ts";

export interface RegistrarOptions {
  readonly controlPlane: HostAndPort;
  readonly brokerName: string;
  /** What sidecars are told. */
  readonly advertise: HostAndPort;
  readonly runId: number;
  /** Whether all lanes are suspended (kill switch). Looked at once a second, and told when it has changed. */
  readonly areLanesOff: () => boolean;
  /** Whether the log takes messages: not while the disk is full or read-only. Looked at likewise. */
  readonly takesMessages: () => boolean;
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly log: Log;
}

/** Patience with one call, and with the last one, which a stop waits for. */
const callMsMax = 2_000;
const leaveMsMax = 500;
const retryMsMin = 100;
const retryMsMax = 5_000;
const lookMs = 1_000;
/** So often in a row it must have taken no messages: a disk that is slow for a moment is none to send away from. */
const refusingLooksMin = 2;
/** A lease shorter than this would be renewed more often than a busy machine can promise. */
const leaseMsMin = 1_000;

/**
 * Tells the control plane that this broker lives and how it stands, every third of the lease it grants, and soon after something of that
 * has changed. A control plane that is down changes nothing here: the broker serves whoever connects, and goes on trying.
 */
export class Registrar {
  readonly #options: RegistrarOptions;
  readonly #client: Client;
  #timer: Timer | undefined;
  #failures = 0;
  #isDraining = false;
  #isStopped = false;
  #isCalling = false;
  /** What of the lanes was told last. */
  #areLanesOff = false;
  /** Whether it was told to take messages. */
  #isWritable = true;
  /** Looks in a row that found that it takes none. */
  #refusingLooks = 0;
  /** As told last; undefined before the first success or while the control plane is unreachable. */
  registeredMs: number | undefined;

  constructor(options: RegistrarOptions) {
    this.#options = options;
    const { host, port } = options.controlPlane;
    this.#client = new Client(`${bracketed(host)}:${port}`, credentials.createInsecure(), {
      "grpc.initial_reconnect_backoff_ms": retryMsMin,
      "grpc.max_reconnect_backoff_ms": 1_000,
      "grpc.enable_retries": 0,
      "grpc.enable_channelz": 0,
      "grpc.use_local_subchannel_pool": 1,
    });
  }

  start(): void {
    void this.#register();
  }

  /** From now on no new sends; said at once. Never rejects. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    this.#timer?.cancel();
    await this.#register();
  }

  /** Leaves the registry and closes. Never rejects: a lease nobody renews ends by itself. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    if (this.registeredMs !== undefined) {
      const { brokerName, runId } = this.#options;
      const body = popmesh.v1.DeregisterBrokerRequest.encode({ brokerName, runId }).finish();
      try {
        await this.#call("/popmesh.v1.Registry/DeregisterBroker", body, () => undefined, leaveMsMax);
      } catch (error) {
        this.#options.log.info({ err: error }, "the control plane did not hear that this broker leaves");
      }
    }
    this.#client.close();
  }

  stopNow(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#client.close();
  }

  async #register(): Promise<void> {
    if (this.#isCalling) return;
    this.#isCalling = true;
    const { brokerName, advertise, runId, clock, log } = this.#options;
    const isDraining = this.#isDraining;
    const lanesOff = this.#options.areLanesOff();
    const writable = this.#refusingLooks < refusingLooksMin;
    const body = popmesh.v1.RegisterBrokerRequest.encode({
      brokerName,
      host: advertise.host,
      port: advertise.port,
      runId,
      draining: isDraining,
      writable: writable && !isDraining,
      lanesOff,
    }).finish();
    let nextMs: number;
    try {
      const { leaseMs } = await this.#call("/popmesh.v1.Registry/RegisterBroker", body, (bytes) =>
        popmesh.v1.RegisterBrokerAnswer.decode(bytes),
      );
      if (this.registeredMs === undefined) log.info({ leaseMs }, "registered with the control plane");
      this.registeredMs = clock.monotonicMs();
      this.#failures = 0;
      this.#areLanesOff = lanesOff;
      this.#isWritable = writable;
      nextMs = Math.max(leaseMs, leaseMsMin) / 3;
    } catch (error) {
      if (this.#failures === 0) log.warn({ err: error }, "the control plane does not answer; serving goes on");
      this.registeredMs = undefined;
      nextMs = this.#retryMs();
    }
    this.#isCalling = false;
    if (this.#isStopped) return;
    // A drain that began meanwhile is said now.
    if (this.#isDraining !== isDraining) await this.#register();
    else this.#waitUntil(clock.monotonicMs() + nextMs);
  }

  /** Until it is due, or there is something to tell somebody who listens. */
  #waitUntil(dueMs: number): void {
    const { clock, areLanesOff, takesMessages } = this.#options;
    const leftMs = dueMs - clock.monotonicMs();
    this.#timer = clock.after(Math.min(leftMs, lookMs), () => {
      this.#refusingLooks = takesMessages() ? 0 : this.#refusingLooks + 1;
      const isWritable = this.#refusingLooks < refusingLooksMin;
      const hasChanged =
        this.registeredMs !== undefined && (areLanesOff() !== this.#areLanesOff || isWritable !== this.#isWritable);
      if (leftMs <= lookMs || hasChanged) void this.#register();
      else this.#waitUntil(dueMs);
    });
  }

  #retryMs(): number {
    const ceilingMs = Math.min(retryMsMax, retryMsMin * 2 ** Math.min(this.#failures, 16));
    this.#failures++;
    return fullJitter(this.#options.randomness, ceilingMs);
  }

  #call<T>(path: string, body: Uint8Array, decode: (bytes: Buffer) => T, msMax = callMsMax): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        path,
        (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
        decode,
        body,
        { deadline: this.#options.clock.wallMs() + msMax },
        (error, answer) => {
          if (error !== null) reject(error);
          else resolve(answer as T);
        },
      );
    });
  }
}

function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
