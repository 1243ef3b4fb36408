import { shapes } from "#codec/shape";
import { beginReading, malformed, next, readRange, readTag, skipValue, WireType } from "./wire.ts";

/**
 * How much a message may hold, checked on its bytes before anything is decoded: 4 MiB of empty sub-messages would become
 * two million objects and block the process for half a second.
 */
export interface ElementLimits {
  /** Levels of messages, the outermost included. */
  readonly depthMax: number;
  /** Elements of the repeated fields of one message together; parts of a sub-message that comes in pieces count too. */
  readonly itemsMax: number;
  /** Entries of the maps of one message together. */
  readonly mapEntriesMax: number;
}

export const defaultElementLimits: ElementLimits = { depthMax: 16, itemsMax: 1024, mapEntriesMax: 128 };

type PartKind = "message" | "map" | "texts" | "varints" | "fixed32s" | "fixed64s";

interface Part {
  readonly kind: PartKind;
  /** Of "message" and "map": what is inside one. */
  readonly shape: Shape;
}

/** Which fields of a message count, by number. */
export interface Shape {
  readonly parts: (Part | undefined)[];
}

const known = new Map<string, Shape>();

/** The shape of a message type by its full name. Throws when the schemas have no such type. */
export function shapeOf(typeName: string): Shape {
  const shape = known.get(typeName);
  if (shape !== undefined) return shape;
  const fields = shapes[typeName];
  if (fields === undefined) throw new Error(`the schemas have no message type ${typeName}`);
  const parts: (Part | undefined)[] = [];
  const found: Shape = { parts };
  // Registered before it is filled: types may contain themselves.
  known.set(typeName, found);
  for (const [number, [kind, type]] of Object.entries(fields)) {
    const inner = type === "" ? emptyShape : shapeOf(type);
    parts[Number(number)] = { kind: kind as PartKind, shape: kind === "map" ? entryShape(inner) : inner };
  }
  return found;
}

const emptyShape: Shape = { parts: [] };

/** A map entry is a message {1: key, 2: value}. */
function entryShape(value: Shape): Shape {
  return value === emptyShape ? emptyShape : { parts: [undefined, undefined, { kind: "message", shape: value }] };
}

/**
 * Throws `MeshError` (BAD_REQUEST) when `bytes[start, end)` is not well-formed, has groups, or exceeds a limit. Allocates
 * nothing. Does not look into text: UTF-8 is the decoder's.
 */
export function checkElements(
  bytes: Uint8Array,
  start: number,
  end: number,
  shape: Shape,
  limits: ElementLimits = defaultElementLimits,
): void {
  beginReading();
  walk(bytes, start, end, shape, limits, 1);
}

function walk(bytes: Uint8Array, start: number, end: number, shape: Shape, limits: ElementLimits, depth: number): void {
  if (depth > limits.depthMax) throw malformed(`its messages are nested more than ${limits.depthMax} levels deep`);
  let items = 0;
  let entries = 0;
  let at = start;
  while (at < end) {
    const tag = readTag(bytes, at, end);
    const wireType = tag & 7;
    const part = shape.parts[tag >>> 3];
    if (part === undefined || wireType !== WireType.Bytes) {
      skipValue(bytes, next, end, tag);
      at = next;
      // A repeated number need not be packed.
      if (part !== undefined && part.kind !== "message" && part.kind !== "map") items++;
    } else {
      const from = readRange(bytes, next, end);
      at = next;
      switch (part.kind) {
        case "map":
          entries++;
          walk(bytes, from, at, part.shape, limits, depth + 1);
          break;
        case "message":
          items++;
          walk(bytes, from, at, part.shape, limits, depth + 1);
          break;
        case "varints":
          items += countVarints(bytes, from, at);
          break;
        case "fixed32s":
          items += (at - from) >> 2;
          break;
        case "fixed64s":
          items += (at - from) >> 3;
          break;
        default:
          items++;
      }
    }
    if (items > limits.itemsMax) throw malformed(`one of its messages holds more than ${limits.itemsMax} elements`);
    if (entries > limits.mapEntriesMax) {
      throw malformed(`one of its messages holds more than ${limits.mapEntriesMax} map entries`);
    }
  }
}

/** Every varint ends with a byte below 128. */
function countVarints(bytes: Uint8Array, start: number, end: number): number {
  let count = 0;
  for (let at = start; at < end; at++) if (bytes[at]! < 0x80) count++;
  return count;
}
