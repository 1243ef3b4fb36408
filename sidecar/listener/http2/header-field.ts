import { entryOverheadBytes, staticTable } from "./hpack-static-table.ts";

/** What a header means to the engine; all that it does not act on is `Plain`. */
export const HeaderKind = {
  Plain: 0,
  Method: 1,
  Scheme: 2,
  Path: 3,
  Authority: 4,
  ContentType: 5,
  ContentLength: 6,
  Te: 7,
  GrpcTimeout: 8,
  GrpcEncoding: 9,
  /** Makes a request malformed: connection-specific (RFC 9113 §8.2.2), unknown pseudo-header, bad character in the name. */
  Forbidden: 10,
} as const;
export type HeaderKind = (typeof HeaderKind)[keyof typeof HeaderKind];

const kindByName = new Map<string, HeaderKind>([
  [":method", HeaderKind.Method],
  [":scheme", HeaderKind.Scheme],
  [":path", HeaderKind.Path],
  [":authority", HeaderKind.Authority],
  ["content-type", HeaderKind.ContentType],
  ["content-length", HeaderKind.ContentLength],
  ["te", HeaderKind.Te],
  ["grpc-timeout", HeaderKind.GrpcTimeout],
  ["grpc-encoding", HeaderKind.GrpcEncoding],
  ["connection", HeaderKind.Forbidden],
  ["keep-alive", HeaderKind.Forbidden],
  ["proxy-connection", HeaderKind.Forbidden],
  ["transfer-encoding", HeaderKind.Forbidden],
  ["upgrade", HeaderKind.Forbidden],
]);

/** A header name, shared by all fields that came by the same table entry. */
export class HeaderName {
  readonly text: string;
  readonly kind: HeaderKind;

  constructor(text: string) {
    this.text = text;
    this.kind = kindByName.get(text) ?? (isName(text) ? HeaderKind.Plain : HeaderKind.Forbidden);
  }
}

/** Lower-case token characters; a colon nowhere, for the known pseudo-headers are looked up before (RFC 9113 §8.2.1). */
function isName(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c <= 0x20 || c >= 0x7f || (c >= 0x41 && c <= 0x5a) || c === 0x3a) return false;
  }
  return text.length > 0;
}

/**
 * One header of a request. The value stays bytes until somebody asks for text: most values are never looked at, and
 * ids that differ from call to call would cost a string each.
 */
export class HeaderField {
  readonly name: HeaderName;
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  /** What the field counts in a table and in a header list (RFC 7541 §4.1, RFC 9113 §6.5.2). */
  readonly tableBytes: number;
  /** False when the value holds NUL, CR or LF, or begins or ends with a blank (RFC 9113 §8.2.1). */
  readonly isValid: boolean;
  #text: string | undefined;

  /** `bytes[start, end)` must not change any more. */
  constructor(name: HeaderName, bytes: Buffer, start: number, end: number) {
    this.name = name;
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.tableBytes = name.text.length + end - start + entryOverheadBytes;
    this.isValid = isValue(bytes, start, end);
  }

  /** The value, one character per byte. */
  get value(): string {
    return (this.#text ??= this.bytes.toString("latin1", this.start, this.end));
  }
}

function isValue(bytes: Buffer, start: number, end: number): boolean {
  if (start === end) return true;
  if (isBlank(bytes[start]!) || isBlank(bytes[end - 1]!)) return false;
  for (let i = start; i < end; i++) {
    const c = bytes[i]!;
    if (c <= 13 && (c === 0 || c === 10 || c === 13)) return false;
  }
  return true;
}

function isBlank(c: number): boolean {
  return c === 0x20 || c === 0x09;
}

/** The static table as fields: entry i is `staticFields[i - 1]`. */
export const staticFields: readonly HeaderField[] = buildStaticFields();

function buildStaticFields(): HeaderField[] {
  const names = new Map<string, HeaderName>();
  return staticTable.map(([name, value]) => {
    let shared = names.get(name);
    if (shared === undefined) names.set(name, (shared = new HeaderName(name)));
    const bytes = Buffer.from(value, "latin1");
    return new HeaderField(shared, bytes, 0, bytes.length);
  });
}
