import { next, readRange, readTagAgain, skipValue, varintBytes, WireType, writeVarint } from "./wire.ts";

/** The fields of a message type that hold one message each, by number, with what is known of theirs. */
export type MessageFields = ReadonlyMap<number, MessageFields>;

/**
 * The same message with each of its parts in one piece: by the protobuf rules the pieces of a part mean what their bytes
 * mean one behind the other. No value is decoded and written again, so that none can change by that: a 64-bit number would
 * as soon as it passes through a double. Unknown fields are kept. `content` was read before and is sound.
 */
export function joinPieces(content: Buffer, fields: MessageFields): Buffer {
  if (fields.size === 0) return content;
  const rest: Buffer[] = [];
  const pieces = new Map<number, Buffer[]>();
  for (let at = 0; at < content.length; at = next) {
    const tag = readTagAgain(content, at, content.length);
    const field = tag >>> 3;
    if ((tag & 7) === WireType.Bytes && fields.has(field)) {
      const from = readRange(content, next, content.length);
      const ofField = pieces.get(field);
      const piece = content.subarray(from, next);
      if (ofField === undefined) pieces.set(field, [piece]);
      else ofField.push(piece);
    } else {
      skipValue(content, next, content.length, tag);
      rest.push(content.subarray(at, next));
    }
  }
  for (const [field, ofField] of pieces) {
    const whole = joinPieces(ofField.length === 1 ? ofField[0]! : Buffer.concat(ofField), fields.get(field)!);
    rest.push(fieldHeader(field, whole.length), whole);
  }
  return Buffer.concat(rest);
}

function fieldHeader(field: number, contentBytes: number): Buffer {
  const tag = (field << 3) | WireType.Bytes;
  const header = Buffer.allocUnsafe(varintBytes(tag) + varintBytes(contentBytes));
  writeVarint(header, writeVarint(header, 0, tag), contentBytes);
  return header;
}
