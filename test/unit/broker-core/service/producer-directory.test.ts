import assert from "node:assert/strict";
import type { Connection } from "../../../../broker-core/service/connection.ts";
import { ProducerDirectory, topicsPerConnectionMax } from "../../../../broker-core/service/producer-directory.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { MetricRegistry } from "../../../../proto/runtime/metric.ts";
import { MemoryLog } from "../../../support/memory-log.ts";

const topic = "ns/t";

/** As much of a connection as the directory looks at. */
class ShownConnection {
  isClosed = false;
  asked = 0;
  untaken = 0;
  readonly frames: { readonly writer: object };

  constructor() {
    const shown = this;
    this.frames = {
      writer: {
        get position() {
          return shown.untaken;
        },
        takenPosition: 0,
        write() {
          shown.asked++;
        },
      },
    };
  }

  get connection(): Connection {
    return this as unknown as Connection;
  }
}

describe("the directory of producers", () => {
  const orphan = {
    ...{ topic, transactionId: "t", message: Buffer.from("m"), storeMs: 1, bornHost: "", laneMark: "", checks: 1 },
    position: 0,
  };

  function directoryOf(...shown: ShownConnection[]): { directory: ProducerDirectory; log: MemoryLog } {
    const log = new MemoryLog();
    const directory = new ProducerDirectory();
    directory.connect({ log, diagnostics: silentLog, metrics: new MetricRegistry() });
    for (const [i, { connection }] of shown.entries()) assert.equal(directory.add(connection, topic), i === 0);
    log.append(17, 1, () => {});
    return { directory, log };
  }

  it("passes over a connection that does not take what it is sent, and asks it again later", () => {
    const [slow, fast] = [new ShownConnection(), new ShownConnection()];
    const { directory, log } = directoryOf(slow, fast);
    log.write();
    slow.untaken = 2 * 1024 * 1024;
    for (let i = 0; i < 3; i++) directory.ask(orphan);
    assert.deepEqual([slow.asked, fast.asked], [0, 3]);
    fast.untaken = slow.untaken;
    assert.equal(directory.canAsk(topic), false);
    slow.untaken = 0;
    assert.equal(directory.canAsk(topic), true);
    directory.ask(orphan);
    assert.deepEqual([slow.asked, fast.asked], [1, 3]);
  });

  it("asks nobody who went between the question and its record", () => {
    const one = new ShownConnection();
    const { directory, log } = directoryOf(one);
    directory.ask(orphan);
    assert.equal(one.asked, 0);
    one.isClosed = true;
    log.write();
    assert.equal(one.asked, 0);
  });

  it("forgets connections and topics without a trace, and counts each topic of a connection once", () => {
    const one = new ShownConnection();
    const { directory } = directoryOf(one);
    assert.equal(directory.add(one.connection, topic), false);
    directory.remove(one.connection, topic);
    assert.equal(directory.canAsk(topic), false);
    directory.remove(one.connection, topic);
    assert.equal(directory.add(one.connection, topic), true, "the first one again");
    directory.forget(one.connection);
    assert.equal(directory.canAsk(topic), false);
    for (let i = 0; i < topicsPerConnectionMax + 10; i++) directory.add(one.connection, `ns/${i}`);
    assert.equal(directory.canAsk(`ns/${topicsPerConnectionMax - 1}`), true);
    assert.equal(directory.canAsk(`ns/${topicsPerConnectionMax}`), false);
  });
});
