/** Characters of a trace id: 16 bytes in hexadecimal. */
const traceIdLength = 32;
/** "00-": the version and its dash. */
const traceIdStart = 3;

/**
 * The trace id of a W3C `traceparent` ("00-<trace id>-<parent id>-<flags>") in `bytes[start, end)`; "" where that is none. A version
 * this code does not know is read all the same, as the standard asks for.
 */
export function traceIdOf(bytes: Buffer, start: number, end: number): string {
  if (end - start < traceIdStart + traceIdLength + 1) return "";
  if (bytes[start + 2] !== dash || bytes[start + traceIdStart + traceIdLength] !== dash) return "";
  let isZero = true;
  for (let at = start + traceIdStart; at < start + traceIdStart + traceIdLength; at++) {
    const byte = bytes[at]!;
    if (!isLowerHex(byte)) return "";
    if (byte !== zero) isZero = false;
  }
  if (isZero || !isLowerHex(bytes[start]!) || !isLowerHex(bytes[start + 1]!)) return "";
  return bytes.toString("latin1", start + traceIdStart, start + traceIdStart + traceIdLength);
}

/**
 * The value of a member of a W3C `baggage` ("a=1,b=2;property"); "" where it has none of that name. The first one counts; what is no
 * baggage has no members.
 */
export function baggageMember(text: string, name: string): string {
  for (const member of text.split(",")) {
    const [pair = ""] = member.split(";", 1);
    const equals = pair.indexOf("=");
    if (equals < 0 || pair.slice(0, equals).trim() !== name) continue;
    const value = pair.slice(equals + 1).trim();
    if (!value.includes("%")) return value;
    try {
      return decodeURIComponent(value);
    } catch {
      // A "%" that begins nothing: the text is the value.
      return value;
    }
  }
  return "";
}

const dash = 0x2d;
const zero = 0x30;

function isLowerHex(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x66);
}
