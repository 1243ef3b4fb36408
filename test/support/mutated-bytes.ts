import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import { pick } from "./random-message.ts";

/** What breaks decoders of protobuf: lengths beyond the end, endless varints, negative sizes, groups, field 0. */
const hostileSnippets: readonly Buffer[] = [
  "ffffffffffffffffffff01", // a varint of 11 bytes
  "ffffffff0f", // a length of 2^32-1, or -1
  "ffffffffffffffffff01", // -1 as a length or number
  "8080808008", // a length of 2^31
  "8080808000", // a length of 0 in five bytes
  "0b", // group 1 begins
  "0c", // group 1 ends
  "00", // field 0
  "07", // wire type 7
  "0a00", // an empty field 1
  "1a00", // an empty field 3
  "120a0a0161", // a field whose length goes over the end of most parents
  "c0af", // not UTF-8
  "8001", // 128
  "feffffff0f",
].map((text) => Buffer.from(text, "hex"));

/** The bytes after one to four small damages. */
export function mutated(bytes: Buffer, randomness: Randomness): Buffer {
  let result = bytes;
  for (let count = 1 + randomIndex(randomness, 4); count > 0; count--) result = mutatedOnce(result, randomness);
  return result;
}

function mutatedOnce(bytes: Buffer, randomness: Randomness): Buffer {
  const at = randomIndex(randomness, bytes.length + 1);
  switch (randomIndex(randomness, 8)) {
    case 0: {
      const flipped = Buffer.from(bytes);
      if (at < flipped.length) flipped[at] = (flipped[at] ?? 0) ^ (1 << randomIndex(randomness, 8));
      return flipped;
    }
    case 1: {
      const changed = Buffer.from(bytes);
      if (at < changed.length) changed[at] = randomness.uint32() & 0xff;
      return changed;
    }
    case 2:
      return bytes.subarray(0, at);
    case 3:
      return Buffer.concat([bytes.subarray(0, at), pick(hostileSnippets, randomness), bytes.subarray(at)]);
    case 4: {
      const snippet = pick(hostileSnippets, randomness);
      return Buffer.concat([
        bytes.subarray(0, at),
        snippet,
        bytes.subarray(Math.min(bytes.length, at + snippet.length)),
      ]);
    }
    case 5: {
      const end = at + randomIndex(randomness, bytes.length - at + 1);
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
    }
    case 6: {
      const end = at + randomIndex(randomness, Math.min(64, bytes.length - at) + 1);
      return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at, end), bytes.subarray(end)]);
    }
    default:
      return Buffer.concat([bytes, pick(hostileSnippets, randomness)]);
  }
}
