import assert from "node:assert/strict";
import { HpackDecoder } from "../../../../../sidecar/listener/http2/hpack-decoder.ts";

interface Step {
  readonly hex: string;
  readonly fields: readonly string[];
  readonly tableBytes: number;
}

const get = [":method: GET", ":scheme: http", ":path: /"];
const first = [":status: 302", "cache-control: private", "date: Mon, 21 Oct 2013 20:13:21 GMT"];
const location = "location: https://www.example.com";
const third = [
  ":status: 200",
  "cache-control: private",
  "date: Mon, 21 Oct 2013 20:13:22 GMT",
  location,
  "content-encoding: gzip",
  "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
];
const requests: readonly (readonly [fields: readonly string[], tableBytes: number])[] = [
  [[...get, ":authority: www.example.com"], 57],
  [[...get, ":authority: www.example.com", "cache-control: no-cache"], 110],
  [
    [":method: GET", ":scheme: https", ":path: /index.html", ":authority: www.example.com", "custom-key: custom-value"],
    164,
  ],
];
const responses: readonly (readonly [fields: readonly string[], tableBytes: number])[] = [
  [[...first, location], 222],
  [[":status: 307", ...first.slice(1), location], 222],
  [third, 215],
];

function steps(expected: typeof requests, ...hexes: readonly string[]): Step[] {
  return hexes.map((hex, i) => ({ hex, fields: expected[i]![0], tableBytes: expected[i]![1] }));
}

/** RFC 7541 appendix C, by section. */
const vectors: Readonly<Record<string, { readonly table: number; readonly steps: readonly Step[] }>> = {
  "C.2.1 literal with indexing": {
    table: 4096,
    steps: [
      {
        hex: "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
        fields: ["custom-key: custom-header"],
        tableBytes: 55,
      },
    ],
  },
  "C.2.2 literal without indexing": {
    table: 4096,
    steps: [{ hex: "040c2f73616d706c652f70617468", fields: [":path: /sample/path"], tableBytes: 0 }],
  },
  "C.2.3 literal never indexed": {
    table: 4096,
    steps: [{ hex: "100870617373776f726406736563726574", fields: ["password: secret"], tableBytes: 0 }],
  },
  "C.2.4 indexed": { table: 4096, steps: [{ hex: "82", fields: [":method: GET"], tableBytes: 0 }] },
  "C.3 requests without Huffman": {
    table: 4096,
    steps: steps(
      requests,
      "828684410f7777772e6578616d706c652e636f6d",
      "828684be58086e6f2d6361636865",
      "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ),
  },
  "C.4 requests with Huffman": {
    table: 4096,
    steps: steps(
      requests,
      "828684418cf1e3c2e5f23a6ba0ab90f4ff",
      "828684be5886a8eb10649cbf",
      "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ),
  },
  "C.5 responses without Huffman, with eviction": {
    table: 256,
    steps: steps(
      responses,
      "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
      "4803333037c1c0bf",
      "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
    ),
  },
  "C.6 responses with Huffman, with eviction": {
    table: 256,
    steps: steps(
      responses,
      "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
      "4883640effc1c0bf",
      "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ),
  },
};

function textOf(decoder: HpackDecoder): string[] {
  return decoder.fields.map((field) => `${field.name.text}: ${field.value}`);
}

function decodes(decoder: HpackDecoder, hex: string): boolean {
  const block = Buffer.from(hex, "hex");
  return decoder.decode(block, 0, block.length);
}

describe("HPACK decoder", () => {
  for (const [title, { table, steps: blocks }] of Object.entries(vectors)) {
    it(`decodes RFC 7541 ${title}`, () => {
      const decoder = new HpackDecoder(table, 1 << 16, 100);
      for (const { hex, fields, tableBytes } of blocks) {
        assert.ok(decodes(decoder, hex));
        assert.deepEqual(textOf(decoder), fields);
        assert.equal(decoder.tableBytes, tableBytes);
      }
    });
  }

  it("keeps values of the table though the block's memory is used again", () => {
    const decoder = new HpackDecoder(4096, 1 << 16, 100);
    const block = Buffer.from("400a637573746f6d2d6b65790d637573746f6d2d686561646572", "hex");
    assert.ok(decoder.decode(block, 0, block.length));
    block.fill(0);
    assert.ok(decodes(decoder, "be"));
    assert.deepEqual(textOf(decoder), ["custom-key: custom-header"]);
  });

  const broken: Readonly<Record<string, string>> = {
    "index 0": "80",
    "an index beyond the table": "be",
    "a literal whose name is beyond the table": "7e0161",
    "a name that is cut off": "400a6375",
    "a value that is cut off": "0f2e05616263",
    "a literal that ends behind its name": "0161",
    "an integer that is cut off": "ff80",
    "an integer of more than 28 bits": "ffffffffffff0f",
    "an endless integer of zeros": "ff8080808080808080808000",
    "Huffman padding of zeros": "04811c",
    "a size update above the announced size": "3fe21f",
    "a size update behind a field": "8220",
  };
  for (const [what, hex] of Object.entries(broken)) {
    it(`refuses ${what}`, () => {
      assert.equal(decodes(new HpackDecoder(4096, 1 << 16, 100), hex), false);
    });
  }

  it("takes size updates at the start of a block, empties the table and fills it again", () => {
    const decoder = new HpackDecoder(4096, 1 << 16, 100);
    assert.ok(decodes(decoder, "40016101624001630164"));
    assert.equal(decoder.tableBytes, 68);
    assert.ok(decodes(decoder, "203fe11f82"));
    assert.equal(decoder.tableBytes, 0);
    assert.equal(decodes(decoder, "be"), false);
  });

  it("stops collecting over the limits, but goes on decoding so that the table stays right", () => {
    const decoder = new HpackDecoder(4096, 100, 100);
    // Three fields of 34 bytes; the third is over 100 and enters the table all the same.
    assert.ok(decodes(decoder, "400161016240016301644001650166"));
    assert.ok(decoder.isOverLimit);
    assert.equal(decoder.fields.length, 2);
    assert.equal(decoder.tableBytes, 102);
    assert.ok(decodes(decoder, "be"));
    assert.deepEqual(textOf(decoder), ["e: f"]);
    assert.equal(decoder.isOverLimit, false);
  });

  it("counts a small block that refers to a large entry many times by what it means", () => {
    const decoder = new HpackDecoder(4096, 16 * 1024, 64);
    const bomb = Buffer.concat([Buffer.from("4001617fd91c", "hex"), Buffer.alloc(3800, "b"), Buffer.alloc(118, 0xbe)]);
    assert.ok(decoder.decode(bomb, 0, bomb.length));
    assert.ok(decoder.isOverLimit);
    assert.ok(decoder.fields.length < 5);
  });

  it("wraps round its ring of entries many times", () => {
    const decoder = new HpackDecoder(128, 1 << 16, 100);
    for (let i = 0; i < 1000; i++) {
      const digits = String(i).padStart(4, "0");
      assert.ok(decodes(decoder, `40016104${Buffer.from(digits).toString("hex")}`));
      assert.ok(decodes(decoder, i === 0 ? "be" : "bebf"));
      const before = String(i - 1).padStart(4, "0");
      assert.deepEqual(textOf(decoder), i === 0 ? ["a: 0000"] : [`a: ${digits}`, `a: ${before}`]);
    }
  });
});
