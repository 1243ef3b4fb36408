import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { ReceiptSealer, receiptBlank } from "../../../../broker-core/pop/receipt.ts";
import { receiptBrokerName } from "../../../../proto/receipt-handle.ts";
import fc from "../../../support/seeded-fast-check.ts";

const key = Buffer.alloc(32, 3);
const receipts = fc.record(
  {
    topicId: fc.nat(0xffff_ffff),
    groupId: fc.nat(0xffff_ffff),
    queueId: fc.nat(0xffff),
    offset: fc.nat(2 ** 48 - 1),
    generation: fc.nat(2 ** 48 - 1),
    run: fc.nat(0xffff_ffff),
    attempt: fc.nat(0xffff),
    lane: fc.constantFrom("", "canary", "ü".repeat(31)),
  },
  { noNullPrototype: true },
);

describe("a receipt", () => {
  it("comes back as it was sealed, names its broker in the clear, and fits into what SDKs carry", () => {
    const sealer = new ReceiptSealer("broker.a", key);
    fc.assert(
      fc.property(receipts, (receipt) => {
        const text = Buffer.from(sealer.seal(receipt));
        assert.ok(text.length <= 255);
        assert.match(text.toString(), /^broker\.a\.[A-Za-z0-9_-]+$/);
        assert.equal(receiptBrokerName(text.toString()), "broker.a");
        const opened = receiptBlank();
        assert.equal(sealer.open(text, opened), "ours");
        assert.deepEqual(opened, receipt);
      }),
      { numRuns: 300 },
    );
  });

  it("tells its lane to a broker that dealt with another one last", () => {
    const lanes = ["canary", "canarx", "canar", "", "base", "ü", "canary"];
    const texts = lanes.map((lane) => Buffer.from(new ReceiptSealer("b", key).seal({ ...receiptBlank(), lane })));
    const sealer = new ReceiptSealer("b", key);
    const opened = receiptBlank();
    const read = texts.map((text) => (sealer.open(text, opened) === "ours" ? opened.lane : undefined));
    assert.deepEqual(read, lanes);
    const sealed = lanes.map((lane) => sealer.seal({ ...receiptBlank(), lane }).toString());
    assert.deepEqual(
      sealed,
      texts.map((text) => text.toString()),
    );
  });

  it("is sealed by HMAC-SHA256 over all it says, with 12 bytes of it", () => {
    const sealer = new ReceiptSealer("b", key);
    const text = sealer.seal({ ...receiptBlank(), topicId: 5, lane: "canary" }).toString();
    const sealed = Buffer.from(text.slice(2), "base64url");
    const mac = createHmac("sha256", key).update(sealed.subarray(0, -12)).digest().subarray(0, 12);
    assert.deepEqual(sealed.subarray(-12), mac);
  });

  it("is forged under another key", () => {
    const text = Buffer.from(new ReceiptSealer("b", Buffer.alloc(32, 4)).seal(receiptBlank()));
    assert.equal(new ReceiptSealer("b", key).open(text, receiptBlank()), "forged");
  });

  it("is never ours when it is any other text, and opening never throws", () => {
    const sealer = new ReceiptSealer("b", key);
    const good = Buffer.from(sealer.seal({ ...receiptBlank(), lane: "canary" }));
    const change = fc.tuple(fc.nat(good.length - 1), fc.nat(255));
    fc.assert(
      fc.property(
        fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.array(change, { minLength: 1, maxLength: 3 })),
        (input) => {
          const text = input instanceof Uint8Array ? Buffer.from(input) : Buffer.from(good);
          if (!(input instanceof Uint8Array)) for (const [at, byte] of input) text[at] = byte;
          if (text.equals(good)) return;
          assert.notEqual(sealer.open(text, receiptBlank()), "ours");
        },
      ),
      { numRuns: 5_000 },
    );
  });

  it("asks for a real key and a short name", () => {
    assert.throws(() => new ReceiptSealer("b", Buffer.alloc(15)), /at least 16/);
    assert.throws(() => new ReceiptSealer("b".repeat(64), key), /exceeds 63 bytes/);
  });
});
