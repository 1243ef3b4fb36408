import type { ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";

/**
 * Whether lanes of this broker are suspended (kill switch): rules go on deciding whose a message is, but every lane is spilled, and every
 * consumer is one of base. One for all topics; changed by LanesSwitched records alone.
 */
export class LaneSwitch {
  isOff = false;
  /** Wall time of the last change, and who asked for it; 0 and "": there never was one. */
  sinceMs = 0;
  by = "";

  writeTo(into: ImageWriter): void {
    into.u8(this.isOff ? 1 : 0);
    into.f64(this.sinceMs);
    into.text(this.by);
  }

  readFrom(from: ImageReader): void {
    this.isOff = from.u8() === 1;
    this.sinceMs = from.f64();
    this.by = from.text();
  }
}
