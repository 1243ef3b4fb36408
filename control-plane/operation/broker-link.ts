import { connect } from "node:net";
import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../proto/code.ts";
import { answerBit, FrameKind, frameVersionMax, frameVersionMin } from "../../proto/frame/frame.ts";
import { FrameConnection, type FrameConnectionHandler } from "../../proto/frame/frame-connection.ts";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";

/** Correlation of the Hello; those of calls begin behind it. */
const helloCorrelation = 1;
/** Well below the 15 s after which a broker cuts a silent peer: nothing has to be kept alive. */
const idleMsMax = 5_000;

interface OpenCall {
  readonly method: string;
  readonly timeout: Timer;
  resolve(result: unknown): void;
  reject(error: MeshError): void;
}

/**
 * Operator calls to one broker: a frame connection that is opened by the first call and closed when nobody has asked for a
 * while. Calls of one moment share it.
 */
export class BrokerLink implements FrameConnectionHandler {
  readonly #brokerName: string;
  readonly #clock: Clock;
  readonly #frames: FrameConnection;
  readonly #onGone: () => void;
  readonly #open = new Map<number, OpenCall>();
  #nextCorrelation = helloCorrelation + 1;
  #idle: Timer | undefined;
  #isWelcome = false;
  /** Requests that wait for the Welcome. */
  #unsent: { readonly correlation: number; readonly body: Uint8Array }[] = [];

  /** `onGone` is called once, when the connection has ended and a new link must be made. */
  constructor(
    at: { readonly brokerName: string; readonly host: string; readonly port: number },
    peerName: string,
    clock: Clock,
    onGone: () => void,
  ) {
    this.#brokerName = at.brokerName;
    this.#clock = clock;
    this.#onGone = onGone;
    this.#frames = new FrameConnection(connect({ host: at.host, port: at.port }), clock, this, {
      fullStops: "nothing",
    });
    const hello = { versionMin: frameVersionMin, versionMax: frameVersionMax, sidecarId: peerName, lane: "" };
    this.#frames.writer.write(FrameKind.Hello, 0, helloCorrelation, popmesh.v1.Hello.encode(hello).finish());
  }

  /** Rejects with `MeshError`: the broker's refusal, or PROXY_TIMEOUT when it cannot be reached or says nothing. */
  call(method: string, parameters: object, timeoutMs: number): Promise<unknown> {
    if (this.#frames.isClosed) {
      const text = `broker "${this.#brokerName}" cannot be asked: the connection was closed`;
      return Promise.reject(new MeshError(Code.ProxyTimeout, text));
    }
    this.#idle?.cancel();
    const correlation = this.#nextCorrelation++;
    const body = popmesh.v1.OperateRequest.encode({ method, arguments: JSON.stringify(parameters) }).finish();
    return new Promise((resolve, reject) => {
      const timeout = this.#clock.after(timeoutMs, () => {
        const text = `broker "${this.#brokerName}" did not answer ${method} within ${timeoutMs} ms`;
        this.#take(correlation)?.reject(new MeshError(Code.ProxyTimeout, text));
        // Nothing says that it ever will: the next call starts with a new connection.
        this.#frames.destroy("a call was not answered");
      });
      this.#open.set(correlation, { method, timeout, resolve, reject });
      if (this.#isWelcome) this.#frames.writer.write(FrameKind.Operate, 0, correlation, body);
      else this.#unsent.push({ correlation, body });
    });
  }

  close(): void {
    this.#frames.destroy("the control plane stops");
  }

  onFrame(kind: number, status: number, correlation: number, bytes: Buffer, start: number, end: number): void {
    if (kind === (FrameKind.Hello | answerBit)) this.#welcome(status, bytes.subarray(start, end));
    else if (kind === (FrameKind.Operate | answerBit)) this.#answered(status, correlation, bytes.subarray(start, end));
  }

  onClosed(reason: string): void {
    this.#idle?.cancel();
    this.#onGone();
    for (const correlation of [...this.#open.keys()]) {
      const text = `broker "${this.#brokerName}" cannot be asked: ${reason}`;
      this.#take(correlation)?.reject(new MeshError(Code.ProxyTimeout, text));
    }
  }

  #welcome(status: number, body: Buffer): void {
    if (status !== Code.Ok) {
      this.#frames.destroy(`it refused the connection: ${failureText(body)}`);
      return;
    }
    const { brokerName } = popmesh.v1.Welcome.decode(body);
    if (brokerName !== this.#brokerName) {
      this.#frames.destroy(`at its address answers broker "${brokerName}"`);
      return;
    }
    this.#isWelcome = true;
    for (const { correlation, body: request } of this.#unsent.splice(0)) {
      this.#frames.writer.write(FrameKind.Operate, 0, correlation, request);
    }
  }

  #answered(status: number, correlation: number, body: Buffer): void {
    const call = this.#take(correlation);
    if (call === undefined) return;
    if (status === Code.Ok) call.resolve(JSON.parse(popmesh.v1.OperateAnswer.decode(body).result));
    else call.reject(new MeshError(codeOf(status), failureText(body)));
  }

  #take(correlation: number): OpenCall | undefined {
    const call = this.#open.get(correlation);
    if (call === undefined) return undefined;
    this.#open.delete(correlation);
    call.timeout.cancel();
    if (this.#open.size === 0 && !this.#frames.isClosed) {
      this.#idle = this.#clock.after(idleMsMax, () => this.#frames.destroy("nobody asks"));
    }
    return call;
  }
}

function failureText(body: Buffer): string {
  return popmesh.v1.Failure.decode(body).message;
}

const codes = new Set<number>(Object.values(Code));

/** A code that this release does not know is still a refusal. */
function codeOf(status: number): Code {
  return codes.has(status) ? (status as Code) : Code.InternalServerError;
}
