import assert from "node:assert/strict";
import { ImageReader, ImageWriter } from "../../../../broker-core/dispatch/image-bytes.ts";

describe("a state image larger than its first buffer", () => {
  it("reads back as it was written, wherever the buffer had to grow", () => {
    for (let shift = 0; shift < 16; shift++) {
      const writer = new ImageWriter();
      for (let i = 0; i < shift; i++) writer.u8(i);
      for (let i = 0; i < 20_000; i++) {
        writer.u16(i & 0xffff);
        writer.u32(i);
        writer.f64(i / 3);
        writer.text(`t${i}`);
      }
      const reader = new ImageReader(writer.bytes());
      for (let i = 0; i < shift; i++) assert.equal(reader.u8(), i);
      for (let i = 0; i < 20_000; i++) {
        assert.deepEqual([reader.u16(), reader.u32(), reader.f64(), reader.text()], [i & 0xffff, i, i / 3, `t${i}`]);
      }
      assert.ok(reader.isAtEnd);
    }
  });
});
