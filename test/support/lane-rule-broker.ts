import { popmesh } from "#codec/popmesh-v1";
import type { LaneOrder, LaneRuleAtBroker } from "../../control-plane/operation/lane-order.ts";
import { Code } from "../../proto/code.ts";
import { FrameKind } from "../../proto/frame/frame.ts";
import { ScriptedBroker, type ScriptedRequest } from "./scripted-broker.ts";

/** The lane rules of a broker as its operator calls tell them, over the real frame port; nothing is classified by them. */
export class LaneRuleBroker {
  readonly rules = new Map<string, LaneRuleAtBroker & Pick<LaneOrder, "rule">>();
  /** Every call, in order: "lane.list", "lane.rule default/canary 3", "lane.rule default/canary 4 withdrawn". */
  readonly calls: string[] = [];
  /** What it refuses rules with; undefined: it takes them. */
  refusal: string | undefined;
  refusalCode: Code = Code.BadRequest;
  /** The generation that it refuses; undefined: all of them. */
  refusedGeneration: number | undefined;
  /** Its kill switch. */
  lanes: "on" | "off" = "on";
  /** What it says to `lane.outcomes`. */
  outcomes: object = { run: 1, items: [] };
  /** False: it says nothing any more. */
  answers = true;
  readonly #name: string;
  /** Highest number so far of each topic and group. */
  readonly #numbers = new Map<string, number>();
  #broker = new ScriptedBroker();

  constructor(name: string) {
    this.#name = name;
  }

  get port(): number {
    return this.#broker.port;
  }

  /** Starts, or starts again at the same port with the rules it had. */
  async start(): Promise<void> {
    const { port } = this.#broker;
    this.#broker = new ScriptedBroker();
    this.#broker.welcome = { ...this.#broker.welcome, brokerName: this.#name };
    this.#broker.onRequest = (request) => this.#serve(request);
    await this.#broker.start(port);
  }

  stop(): Promise<void> {
    return this.#broker.stop();
  }

  #serve(request: ScriptedRequest): void {
    if (request.kind !== FrameKind.Operate || !this.answers) return;
    const { method, arguments: text } = popmesh.v1.OperateRequest.decode(request.body);
    if (method === "lane.list") {
      this.calls.push(method);
      const topics = [...this.rules.values()].map(({ topic, incarnation, group, name, generation, rule }) => ({
        topic,
        incarnation,
        rules: [{ group, name, number: generation, rule }],
      }));
      this.#answer(request, { topics });
      return;
    }
    if (method === "lane.outcomes") {
      this.#answer(request, this.outcomes);
      return;
    }
    if (method === "lanes.switch" || method === "lanes.status") {
      if (method === "lanes.switch") this.lanes = (JSON.parse(text) as { state: "on" | "off" }).state;
      this.#answer(request, { state: this.lanes });
      return;
    }
    if (method !== "lane.rule") {
      this.#broker.fail(request, Code.NotImplemented, `this broker knows no operation "${method}"`);
      return;
    }
    const order = JSON.parse(text) as LaneOrder;
    const { topic, group, name, number: generation, rule, opening } = order;
    this.calls.push(`${method} ${name} ${generation}${rule === null ? " withdrawn" : ""}`);
    if (this.refusal !== undefined && generation === (this.refusedGeneration ?? generation)) {
      this.#broker.fail(request, this.refusalCode, this.refusal);
      return;
    }
    const key = `${topic} ${group}`;
    const incarnation = opening?.incarnation ?? 0;
    const last = this.#numbers.get(key) ?? -1;
    if (generation < last) {
      this.#broker.fail(request, Code.BadRequest, `it has number ${last}, this one has ${generation}`);
      return;
    }
    this.#numbers.set(key, generation);
    if (rule === null) this.rules.delete(key);
    else this.rules.set(key, { topic, group, name, generation, incarnation, rule });
    this.#answer(request, {});
  }

  #answer(request: ScriptedRequest, result: object): void {
    const body = popmesh.v1.OperateAnswer.encode({ result: JSON.stringify(result) }).finish();
    this.#broker.answer(request, body);
  }
}
