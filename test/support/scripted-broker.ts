import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../proto/code.ts";
import { answerBit, FrameKind } from "../../proto/frame/frame.ts";
import { FrameParser } from "../../proto/frame/frame-parser.ts";
import { waitUntil } from "./wait-until.ts";

export interface ScriptedRequest {
  readonly kind: number;
  readonly correlation: number;
  readonly body: Buffer;
  readonly from: Socket;
}

/** A broker made of sockets: it welcomes and opens names by itself, and answers everything else as the test says. */
export class ScriptedBroker {
  readonly requests: ScriptedRequest[] = [];
  readonly sockets: Socket[] = [];
  welcome: popmesh.v1.IWelcome = {
    ...{ version: 1, brokerName: "broker-a", runId: 1, requestWindow: 1024, receiveWindow: 1024, byteWindow: 1 << 26 },
  };
  /** Answer to a Hello instead of a Welcome. */
  helloFailure: { readonly code: Code; readonly message: string } | undefined;
  /** Says nothing at all, not even to a Hello. */
  isMute = false;
  opensByItself = true;
  /** Told of every request that it does not answer by itself. */
  onRequest: (request: ScriptedRequest) => void = () => {};
  port = 0;
  readonly #server: Server = createServer((socket) => this.#accept(socket));
  #nextId = 1;

  async start(port = 0): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(port, "127.0.0.1", resolve));
    this.port = (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  of(kind: number): ScriptedRequest[] {
    return this.requests.filter((request) => request.kind === kind);
  }

  /** Waits for the `count`-th request of a kind. */
  async heard(kind: number, count = 1): Promise<ScriptedRequest> {
    await waitUntil(`${count} requests of kind ${kind}`, () => this.of(kind).length >= count, 5_000);
    return this.of(kind)[count - 1]!;
  }

  answer(request: ScriptedRequest, body: Uint8Array = new Uint8Array(0), status: number = Code.Ok): void {
    this.say(request.from, request.kind | answerBit, status, request.correlation, body);
  }

  fail(request: ScriptedRequest, code: number, message: string): void {
    this.answer(request, popmesh.v1.Failure.encode({ message }).finish(), code);
  }

  say(to: Socket, kind: number, status = 0, correlation = 0, body: Uint8Array = new Uint8Array(0)): void {
    const frame = Buffer.alloc(12 + body.length);
    frame.writeUInt32BE(8 + body.length, 0);
    frame[4] = kind;
    frame.writeUInt16BE(status, 6);
    frame.writeUInt32BE(correlation, 8);
    frame.set(body, 12);
    to.write(frame);
  }

  #accept(socket: Socket): void {
    this.sockets.push(socket);
    socket.on("error", () => {});
    const parser = new FrameParser({
      onFrame: (kind, _status, correlation, bytes, start, end) => {
        const request = { kind, correlation, body: Buffer.from(bytes.subarray(start, end)), from: socket };
        this.requests.push(request);
        if (!this.isMute) this.#serve(request);
      },
    });
    socket.on("data", (chunk: Buffer) => parser.push(chunk));
  }

  #serve(request: ScriptedRequest): void {
    const { v1 } = popmesh;
    switch (request.kind) {
      case FrameKind.Hello:
        if (this.helloFailure !== undefined) this.fail(request, this.helloFailure.code, this.helloFailure.message);
        else this.answer(request, v1.Welcome.encode(this.welcome).finish());
        return;
      case FrameKind.Ping:
        this.answer(request);
        return;
      case FrameKind.OpenTopic:
        if (this.opensByItself) this.answer(request, v1.OpenTopicAnswer.encode({ topicId: this.#nextId++ }).finish());
        return;
      case FrameKind.OpenGroup:
        if (this.opensByItself) this.answer(request, v1.OpenGroupAnswer.encode({ groupId: this.#nextId++ }).finish());
        return;
      default:
        this.onRequest(request);
    }
  }
}
