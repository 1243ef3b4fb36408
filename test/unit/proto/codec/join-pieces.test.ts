import assert from "node:assert/strict";
import { joinPieces, type MessageFields } from "../../../../proto/codec/join-pieces.ts";

const plain: MessageFields = new Map();
/** Field 1 is a message of numbers; field 3 is one whose field 7 is again a message. */
const fields: MessageFields = new Map([
  [1, plain],
  [3, new Map([[7, plain]])],
]);

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
const joined = (text: string): string => joinPieces(hex(text), fields).toString("hex");

describe("joining the pieces of a message", () => {
  it("puts the contents of the pieces behind each other, also within a part", () => {
    assert.equal(joined("0a02 0801  0a02 1002"), hex("0a04 0801 1002").toString("hex"));
    assert.equal(joined("1a04 3a02 0801  1a04 3a02 1002"), hex("1a06 3a04 0801 1002").toString("hex"));
  });

  it("keeps every other field as it stands, numbers of 64 bits and unknown ones included", () => {
    const number = "08 ffffffffffffffff7f";
    const unknown = "f8ffffff0f 8000";
    assert.equal(
      joined(`0a0a ${number}  ${unknown}  2202 7879  0a02 1001`),
      hex(`${unknown}  2202 7879  0a0c ${number} 1001`).toString("hex"),
    );
  });

  it("leaves a field alone that has the number of a part and another type", () => {
    assert.equal(joined("0805 0a00 0a00"), hex("0805 0a00").toString("hex"));
  });
});
