import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { MetricRegistry } from "../../../../proto/runtime/metric.ts";
import type { Router } from "../../../../sidecar/filter/router.ts";
import { AutoRenewal } from "../../../../sidecar/listener/auto-renewal.ts";
import { ClientSessions, type CommandStream, clientGoneMs } from "../../../../sidecar/listener/client-session.ts";
import type { GroupRef, UpstreamChange, UpstreamResults } from "../../../../sidecar/upstream/upstream.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

const group: GroupRef = {
  name: "default/g",
  generation: 1,
  attemptsMax: 17,
  backoff: { kind: "list", delaysMs: [1_000] },
  inflightMax: 0,
};
const stream: CommandStream = { takesMore: true, sendCommand() {}, pushSettings() {}, end() {} };
const minuteMs = 60_000;

/** A broker that does what it is asked, seen from the renewal. */
class AskedRouter {
  readonly asked: { readonly broker: string; readonly request: UpstreamChange }[] = [];
  answerWith: (request: UpstreamChange) => UpstreamResults = (request) => ({
    ok: true,
    results: request.changes.map(({ receipt }) => ({ code: Code.Ok, message: "OK", receipt })),
  });

  changeUnasked(broker: string, request: UpstreamChange, _ms: number, done: (answer: UpstreamResults) => void): void {
    this.asked.push({ broker, request });
    done(this.answerWith(request));
  }

  receipts(kind: string): string[] {
    return this.asked.flatMap(({ request }) =>
      request.changes.filter((change) => change.kind === kind).map(({ receipt }) => receipt),
    );
  }
}

describe("auto-renewal", () => {
  let clock: ManualClock;
  let router: AskedRouter;
  let sessions: ClientSessions;
  let renewal: AutoRenewal;
  beforeEach(() => {
    clock = new ManualClock();
    router = new AskedRouter();
    sessions = new ClientSessions(clock);
    renewal = new AutoRenewal(sessions, router as unknown as Router, clock, silentLog, new MetricRegistry());
    sessions.onGone = (session) => renewal.releaseAll(session);
    sessions.start();
    renewal.start();
  });

  /** A connected push consumer that holds these receipts. */
  function consumer(...receipts: string[]) {
    const session = sessions.touch("push", clock.monotonicMs());
    session.stream = stream;
    for (const receipt of receipts) {
      renewal.hold(session, { receipt, brokerName: receipt.slice(0, receipt.indexOf(".")), group, attempt: 1 });
    }
    return session;
  }

  it("[27] keeps a message of a working consumer invisible for as long as it works, asking nothing of it", () => {
    const session = consumer("a.1");
    for (let minute = 0; minute < 5; minute++) clock.advance(minuteMs);
    const extended = router.receipts("extend").length;
    assert.ok(extended >= 5 && extended <= 12, `${extended} extensions in five minutes`);
    for (const { request } of router.asked) assert.equal(request.changes[0]?.invisibleMs, minuteMs);
    renewal.release(session, "a.1");
    clock.advance(2 * minuteMs);
    assert.equal(router.receipts("extend").length, extended, "none after the ack");
  });

  it("asks each broker once per round for all receipts that are due", () => {
    consumer(...Array.from({ length: 100 }, (_, i) => `a.${i}`), ...Array.from({ length: 50 }, (_, i) => `b.${i}`));
    clock.advance(35_000);
    assert.deepEqual(
      router.asked.map(({ broker, request }) => [broker, request.changes.length]),
      [
        ["a", 100],
        ["b", 50],
      ],
    );
  });

  it("tries again while a broker is away, and gives up when the lease is over", () => {
    consumer("a.1");
    router.answerWith = () => ({ ok: false, code: Code.ProxyTimeout, message: "away", reach: "not-sent" });
    clock.advance(50_000);
    assert.ok(router.asked.length >= 3, `${router.asked.length} tries`);
    clock.advance(30_000);
    const tries = router.asked.length;
    clock.advance(minuteMs);
    assert.equal(router.asked.length, tries);
  });

  it("forgets a receipt that the broker does not know any more", () => {
    const session = consumer("a.1");
    router.answerWith = (request) => ({
      ok: true,
      results: request.changes.map(() => ({ code: Code.InvalidReceiptHandle, message: "expired", receipt: "" })),
    });
    clock.advance(40_000);
    assert.equal(session.held.size, 0);
    assert.equal(router.asked.length, 1);
  });

  it("[28] lets the messages of a client that is gone come back in a second, after 120 s of silence", () => {
    const session = consumer("a.1");
    session.stream = undefined;
    clock.advance(clientGoneMs - 1_000);
    assert.deepEqual(router.receipts("renew"), []);
    clock.advance(7_000);
    assert.deepEqual(router.receipts("renew"), ["a.1"]);
    assert.equal(router.asked.at(-1)?.request.changes[0]?.invisibleMs, 1_000);
    assert.equal(sessions.get("push"), undefined);
  });

  it("keeps a silent client whose Telemetry stream is open, and one that makes any call", () => {
    consumer("a.1");
    clock.advance(10 * minuteMs);
    assert.notEqual(sessions.get("push"), undefined);
    const quiet = sessions.touch("polls-only", clock.monotonicMs());
    for (let i = 0; i < 10; i++) {
      clock.advance(minuteMs);
      sessions.touch("polls-only", clock.monotonicMs());
    }
    assert.equal(sessions.get("polls-only"), quiet);
    assert.deepEqual(router.receipts("renew"), []);
  });

  it("stops renewing after three hours", () => {
    const session = consumer("a.1");
    for (let i = 0; i < 190; i++) clock.advance(minuteMs);
    assert.equal(session.held.size, 0);
  });
});
