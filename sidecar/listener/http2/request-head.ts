import { type HeaderField, HeaderKind } from "./header-field.ts";

/** What the engine acts on in a request's header list. One object per connection, filled anew for each request. */
export class RequestHead {
  method: HeaderField | undefined;
  path: HeaderField | undefined;
  contentType: HeaderField | undefined;
  timeout: HeaderField | undefined;
  encoding: HeaderField | undefined;
  /** Announced length of the body, or -1. */
  contentLength = -1;

  /** Reads a request's fields. False: the request is malformed (RFC 9113 §8.1.1) and must be reset. */
  read(fields: readonly HeaderField[]): boolean {
    this.method = undefined;
    this.path = undefined;
    this.contentType = undefined;
    this.timeout = undefined;
    this.encoding = undefined;
    this.contentLength = -1;
    let scheme: HeaderField | undefined;
    let authority: HeaderField | undefined;
    let isPseudoOver = false;
    for (const field of fields) {
      if (!field.isValid) return false;
      switch (field.name.kind) {
        case HeaderKind.Method:
          if (isPseudoOver || this.method !== undefined) return false;
          this.method = field;
          break;
        case HeaderKind.Scheme:
          if (isPseudoOver || scheme !== undefined) return false;
          scheme = field;
          break;
        case HeaderKind.Path:
          if (isPseudoOver || this.path !== undefined || field.start === field.end) return false;
          this.path = field;
          break;
        case HeaderKind.Authority:
          if (isPseudoOver || authority !== undefined) return false;
          authority = field;
          break;
        case HeaderKind.Forbidden:
          return false;
        case HeaderKind.Te:
          if (field.value !== "trailers") return false;
          isPseudoOver = true;
          break;
        case HeaderKind.ContentLength: {
          const length = parseLength(field);
          if (length < 0 || (this.contentLength >= 0 && this.contentLength !== length)) return false;
          this.contentLength = length;
          isPseudoOver = true;
          break;
        }
        case HeaderKind.ContentType:
          this.contentType = field;
          isPseudoOver = true;
          break;
        case HeaderKind.GrpcTimeout:
          this.timeout = field;
          isPseudoOver = true;
          break;
        case HeaderKind.GrpcEncoding:
          this.encoding = field;
          isPseudoOver = true;
          break;
        default:
          isPseudoOver = true;
      }
    }
    return this.method !== undefined && scheme !== undefined && this.path !== undefined;
  }

  /** POST with `application/grpc`, with or without `+proto` and parameters. */
  get isGrpc(): boolean {
    const type = this.contentType?.value;
    if (type === undefined || this.method?.value !== "POST") return false;
    return type === "application/grpc" || type === "application/grpc+proto" || type.startsWith("application/grpc;");
  }
}

/** True when these are proper trailers: no pseudo-headers, nothing forbidden. */
export function areTrailers(fields: readonly HeaderField[]): boolean {
  return fields.every((field) => {
    const { kind, text } = field.name;
    return kind !== HeaderKind.Forbidden && !text.startsWith(":") && field.isValid;
  });
}

function parseLength(field: HeaderField): number {
  if (field.start === field.end || field.end - field.start > 15) return -1;
  let length = 0;
  for (let i = field.start; i < field.end; i++) {
    const digit = field.bytes[i]! - 0x30;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
  }
  return length;
}
