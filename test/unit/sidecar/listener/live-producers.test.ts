import assert from "node:assert/strict";
import { ClientSession, producedTopicsMax } from "../../../../sidecar/listener/client-session.ts";
import { LiveProducers } from "../../../../sidecar/listener/live-producers.ts";

describe("the live producers of a sidecar", () => {
  function producersOf(): { producers: LiveProducers; told: string[] } {
    const producers = new LiveProducers();
    const told: string[] = [];
    producers.onChange = (topic, isLive) => told.push(`${isLive ? "+" : "-"}${topic}`);
    return { producers, told };
  }

  function session(clientId: string, ...topics: string[]) {
    const made = new ClientSession(clientId, 0);
    const stream = { takesMore: true, sendCommand() {}, pushSettings() {}, end() {} };
    made.stream = stream;
    for (const topic of topics) made.noteProduced(topic);
    return { made, stream };
  }

  it("are told topic by topic, when the first comes and when the last leaves", () => {
    const { producers, told } = producersOf();
    const [a, b] = [session("a", "t", "u").made, session("b", "t").made];
    producers.update(a);
    producers.update(b);
    producers.update(b);
    assert.deepEqual(told, ["+t", "+u"]);
    a.stream = undefined;
    producers.update(a);
    assert.deepEqual(told, ["+t", "+u", "-u"]);
    producers.update(b, true);
    assert.deepEqual(told.slice(3), ["-t"]);
    assert.equal(producers.has("t"), false);
    assert.equal(producers.next("t"), undefined);
  });

  it("are asked in turn, but for those that do not read what they are sent", () => {
    const { producers } = producersOf();
    const all = [session("a", "t"), session("b", "t"), session("c", "t")];
    for (const { made } of all) producers.update(made);
    const names = (count: number) =>
      Array.from({ length: count }, () => {
        const asked = producers.next("t");
        return all.findIndex(({ stream }) => stream === asked);
      });
    assert.deepEqual(names(4), [0, 1, 2, 0]);
    all[1]!.stream.takesMore = false;
    assert.deepEqual([...new Set(names(6))].sort(), [0, 2]);
    for (const { stream } of all) stream.takesMore = false;
    assert.equal(producers.next("t"), undefined);
    assert.equal(producers.has("t"), true, "they are there all the same");
  });

  it("are remembered for so many topics and no more", () => {
    const { producers, told } = producersOf();
    const topics = Array.from({ length: producedTopicsMax + 5 }, (_, i) => `t${i}`);
    const { made } = session("a", ...topics);
    producers.update(made);
    assert.equal(told.length, producedTopicsMax);
    assert.equal(made.noteProduced("t0"), false);
  });
});
