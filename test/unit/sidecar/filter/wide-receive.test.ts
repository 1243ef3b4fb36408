import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { WideReceive } from "../../../../sidecar/filter/wide-receive.ts";
import type { Delivery, UpstreamFailure, UpstreamReceiveAnswer } from "../../../../sidecar/upstream/upstream.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

const nothing: UpstreamReceiveAnswer = { ok: true, deliveries: [] };
const messages = (text: string): UpstreamReceiveAnswer => ({ ok: true, deliveries: [text as unknown as Delivery] });
const failure = (reach: UpstreamFailure["reach"]): UpstreamFailure => ({
  ...{ ok: false, code: Code.ProxyTimeout, message: reach, reach },
});

/** A receive over brokers that answer when the test says so. */
class Scene {
  readonly clock = new ManualClock();
  readonly answers: UpstreamReceiveAnswer[] = [];
  readonly surplus: Delivery[] = [];
  clusters = ["a", "b", "c"];
  /** Receives that are open, "cluster/wait". */
  readonly open = new Map<string, (answer: UpstreamReceiveAnswer) => void>();
  readonly cancelled: string[] = [];
  readonly receive = new WideReceive({
    clock: this.clock,
    clusters: () => this.clusters,
    receiveAt: (cluster, waitMs, done) => {
      const name = `${cluster}/${waitMs}`;
      this.open.set(name, done);
      return () => this.open.has(name) && this.cancelled.push(name);
    },
    surplus: (deliveries) => this.surplus.push(...deliveries),
    done: (answer) => this.answers.push(answer),
  });

  get names(): string[] {
    return [...this.open.keys()];
  }

  answer(name: string, answer: UpstreamReceiveAnswer): void {
    const done = this.open.get(name);
    assert.ok(done, `${name} is not open; ${this.names.join(" ")} are`);
    this.open.delete(name);
    done(answer);
  }
}

describe("a receive from any broker of a topic", () => {
  it("asks one broker without waiting, and no other when that has messages", () => {
    const scene = new Scene();
    scene.receive.start("b", 5_000);
    assert.deepEqual(scene.names, ["b/0"]);
    scene.answer("b/0", messages("m"));
    assert.deepEqual([scene.answers, scene.names], [[messages("m")], []]);
  });

  it("waits for all when that has none; the first messages are the answer, the others go back", () => {
    const scene = new Scene();
    scene.receive.start("b", 5_000);
    scene.answer("b/0", nothing);
    assert.deepEqual(scene.names, ["a/5000", "b/5000", "c/5000"]);
    scene.answer("c/5000", messages("m"));
    assert.deepEqual(scene.answers, [messages("m")]);
    assert.deepEqual(scene.cancelled, ["a/5000", "b/5000"]);
    scene.answer("a/5000", messages("beside"));
    scene.answer("b/5000", nothing);
    assert.deepEqual([scene.surplus, scene.answers.length], [["beside"], 1]);
  });

  it("waits for a broker too that comes meanwhile, for as long as is left", () => {
    const scene = new Scene();
    scene.clusters = ["a"];
    scene.receive.start("a", 5_000);
    assert.deepEqual(scene.names, ["a/5000"], "where there is one broker it is waited for at once");
    scene.clusters = ["a", "d"];
    scene.clock.advance(1_000);
    assert.deepEqual(scene.names, ["a/5000", "d/4000"]);
    scene.clock.advance(3_000);
    assert.deepEqual(scene.names, ["a/5000", "d/4000"], "once");
    scene.answer("d/4000", messages("m"));
    assert.deepEqual([scene.answers, scene.cancelled], [[messages("m")], ["a/5000"]]);
  });

  it("has nothing when all have nothing, whether or not one of them cannot be reached", () => {
    const scene = new Scene();
    scene.receive.start("a", 5_000);
    scene.answer("a/0", failure("not-sent"));
    scene.answer("a/5000", failure("not-sent"));
    scene.answer("b/5000", nothing);
    assert.deepEqual(scene.answers, []);
    scene.answer("c/5000", failure("unknown"));
    assert.deepEqual(scene.answers, [nothing]);
  });

  it("fails when no broker can be reached, and at once when one refuses", () => {
    const scene = new Scene();
    scene.receive.start("a", 5_000);
    for (const name of ["a/0", "a/5000", "b/5000", "c/5000"]) scene.answer(name, failure("not-sent"));
    assert.deepEqual(scene.answers, [failure("not-sent")]);
    const refused = new Scene();
    refused.receive.start("a", 5_000);
    refused.answer("a/0", failure("refused"));
    assert.deepEqual([refused.answers, refused.names], [[failure("refused")], []]);
  });

  it("gives every wait up when nobody wants the answer any more, and still answers", () => {
    const scene = new Scene();
    scene.receive.start("a", 5_000);
    scene.answer("a/0", nothing);
    scene.receive.cancel();
    assert.deepEqual(scene.cancelled, ["a/5000", "b/5000", "c/5000"]);
    for (const name of scene.names) scene.answer(name, nothing);
    assert.deepEqual(scene.answers, [nothing]);
    const early = new Scene();
    early.receive.start("a", 5_000);
    early.receive.cancel();
    early.answer("a/0", nothing);
    assert.deepEqual([early.answers, early.names], [[nothing], []], "no other is asked any more");
  });

  it("answers where the topic has lost its brokers", () => {
    const scene = new Scene();
    scene.clusters = [];
    scene.receive.start("a", 5_000);
    assert.deepEqual(scene.answers, [nothing]);
  });
});
