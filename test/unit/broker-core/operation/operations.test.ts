import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { OperatorLink } from "../../../support/operator-link.ts";
import { repositoryRoot } from "../../../support/running-process.ts";
import { SimulatedBroker } from "../../../support/simulated-broker.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";

describe("the operator calls of a broker", () => {
  let broker: SimulatedBroker;
  let operator: OperatorLink;
  before(async () => {
    broker = await SimulatedBroker.start(new SimulatedDisk(), new SeededRandomness(3));
    operator = new OperatorLink(broker.broker.port);
  });
  after(async () => {
    operator.close();
    await broker.stop();
  });

  const refusal = (method: string, parameters: object) =>
    operator.call(method, parameters).then(
      () => "",
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
  /** What a refusal enumerates. */
  const named = (text: string, behind: RegExp) => (behind.exec(text)?.[1] ?? "").split(", ").filter(Boolean).sort();

  it("are refused by name, method and parameter, with those that there are", async () => {
    const method = await refusal("group.descibe", {});
    assert.match(method, /knows no operation "group.descibe", it knows .*group\.describe/);
    const parameter = await refusal("group.reset", { group: "default/billing", dryrun: true });
    assert.match(parameter, /group\.reset: there is no parameter "dryrun"; it takes group, topic, queue, to, dryRun$/);
    assert.match(await refusal("group.reset", { group: 7, to: "latest" }), /group\.reset: group: /);
    assert.match(await refusal("lanes.status", { state: "off" }), /it takes no parameters$/);
    // It would begin anew instead of going on where it was.
    assert.match(await refusal("group.adopt", { group: "default/billing", groupID: 3 }), /it takes group, groupId$/);
  });

  it("are all of those in docs/operator-calls.md, with their parameters", async () => {
    const rows = readFileSync(join(repositoryRoot, "docs/operator-calls.md"), "utf8")
      .split("\n")
      .filter((line) => /^\| `[a-z]+\.[a-zA-Z]+` /.test(line));
    const codes = (text = "") => [...text.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code);
    const table = new Map(
      rows.map((row) => {
        const [, method, parameters] = row.split("|");
        return [codes(method)[0] ?? "", codes(parameters)];
      }),
    );
    const methods = named(await refusal("?", {}), /it knows (.*); is it older/);
    assert.deepEqual([...table.keys()].sort(), methods);
    for (const [method, told] of table) {
      // "those of `dlq.list`, `dryRun`"
      const parameters = told.flatMap((code) => table.get(code) ?? [code]).sort();
      assert.deepEqual(named(await refusal(method, { "?": 1 }), /it takes (?!no parameters)(.*)$/), parameters, method);
    }
  });
});
