import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { ReceiptMac } from "../../../../broker-core/pop/receipt-mac.ts";
import fc from "../../../support/seeded-fast-check.ts";

describe("the MAC of receipts", () => {
  it("is HMAC-SHA256, for every length and key", () => {
    const bytes = (minLength: number, maxLength: number) =>
      fc.uint8Array({ minLength, maxLength }).map((b) => Buffer.from(b));
    fc.assert(
      fc.property(bytes(0, 64), fc.array(bytes(0, 311), { minLength: 1, maxLength: 20 }), (key, messages) => {
        const mac = new ReceiptMac(key);
        const into = Buffer.alloc(34, 0xee);
        for (const message of messages) {
          mac.write(message, message.length, into, 1);
          assert.deepEqual(into.subarray(1, 33), createHmac("sha256", key).update(message).digest());
          assert.equal(into[0]! & into[33]!, 0xee, "writes 32 bytes");
        }
      }),
      { numRuns: 200 },
    );
  });

  it("refuses a key that does not fit into a block", () => {
    assert.throws(() => new ReceiptMac(Buffer.alloc(65)), /at most 64 bytes/);
  });
});
