import assert from "node:assert/strict";
import { matchesClient } from "../../../../sidecar/limit/client-pattern.ts";
import fc from "../../../support/seeded-fast-check.ts";

describe("a pattern of client ids", () => {
  it("matches as the regular expression of the same meaning does", () => {
    const sign = fc.constantFrom("a", "b", "*", ".");
    const text = fc.array(sign, { maxLength: 8 }).map((signs) => signs.join(""));
    fc.assert(
      fc.property(
        text,
        text.map((id) => id.replaceAll("*", "a")),
        (pattern, clientId) => {
          const parts = pattern.split("*").map((part) => part.replaceAll(".", "\\."));
          assert.equal(matchesClient(pattern, clientId), new RegExp(`^${parts.join(".*")}$`).test(clientId));
        },
      ),
    );
  });

  it("takes no longer than its length allows", () => {
    assert.equal(matchesClient("*a".repeat(40), `${"a".repeat(2_000)}b`), false);
  });
});
