import assert from "node:assert/strict";
import { Resolution } from "../../../../broker-core/transaction/resolution-ring.ts";
import { decideEnd, TransactionResolution } from "../../../../broker-core/transaction/transaction-end.ts";
import { Code, codeName } from "../../../../proto/code.ts";

const { Unspecified, Commit, Rollback } = TransactionResolution;

describe("the decision about an end", () => {
  it("is complete: every past and every wish have their answer", () => {
    const table = [["open", ...["UNKNOWN", "COMMIT", "ROLLBACK", "7"].map((_, i) => answer(true, Resolution.None, i))]];
    for (const [name, past] of Object.entries(Resolution)) {
      table.push([name, ...[Unspecified, Commit, Rollback, 7].map((wanted) => answer(false, past, wanted))]);
    }
    assert.deepEqual(table, [
      ["open", "done", "commit", "rollback", "BAD_REQUEST"],
      ["None", "done", "INVALID_TRANSACTION_ID", "INVALID_TRANSACTION_ID", "BAD_REQUEST"],
      ["Committed", "done", "done", "BAD_REQUEST", "BAD_REQUEST"],
      ["RolledBack", "done", "BAD_REQUEST", "done", "BAD_REQUEST"],
      ["RolledBackAfterCheck", "done", "BAD_REQUEST", "done", "BAD_REQUEST"],
      ["ChecksExhausted", "done", "BAD_REQUEST", "done", "BAD_REQUEST"],
      ["TooOld", "done", "BAD_REQUEST", "done", "BAD_REQUEST"],
      ["TopicGone", "done", "TOPIC_NOT_FOUND", "TOPIC_NOT_FOUND", "BAD_REQUEST"],
      ["Lost", "done", "INVALID_TRANSACTION_ID", "INVALID_TRANSACTION_ID", "BAD_REQUEST"],
    ]);
  });

  function answer(isOpen: boolean, past: Resolution, wanted: number): string {
    const decision = decideEnd(isOpen, past, wanted === 3 ? 7 : wanted);
    if (decision.kind !== "refuse") return decision.kind;
    assert.notEqual(decision.code, Code.Ok);
    assert.ok(decision.message.length > 40, "it says what happened and what to do");
    return codeName(decision.code);
  }
});
