import { ExpressionFault, shown } from "./expression-fault.ts";

/** Kinds of tokens. Keywords and signs carry their own name, so that error texts can say it. */
export type TokenKind = "name" | "text" | "integer" | "decimal" | "end" | Keyword | Sign;

export type Keyword =
  | "NOT"
  | "AND"
  | "OR"
  | "BETWEEN"
  | "IN"
  | "TRUE"
  | "FALSE"
  | "NULL"
  | "IS"
  | "CONTAINS"
  | "STARTSWITH"
  | "ENDSWITH";

export type Sign = "=" | "<>" | "<" | "<=" | ">" | ">=" | "(" | ")" | "," | "+" | "-";

const keywords: ReadonlySet<string> = new Set<Keyword>([
  "NOT",
  "AND",
  "OR",
  "BETWEEN",
  "IN",
  "TRUE",
  "FALSE",
  "NULL",
  "IS",
  "CONTAINS",
  "STARTSWITH",
  "ENDSWITH",
]);
/** A longer word is no keyword and need not be looked up. */
const keywordLengthMax = 10;

/** Signs of other languages, and what to write here. */
const strangers: readonly (readonly [sign: string, advice: string])[] = [
  ["==", 'equality is written "="'],
  ["!=", 'inequality is written "<>"'],
  ["&&", "write AND"],
  ["||", "write OR; tags are joined by || in filters of type TAG only"],
  ['"', "text stands in single quotes: 'like this'"],
  ["!", "write NOT"],
  ["*", 'there is no arithmetic; every message is wanted with TRUE, or with the filter "*" of type TAG'],
  ["/", "there is no arithmetic, and a comment that begins with /* ends with */"],
  ["%", "there is no arithmetic"],
];

/**
 * Cuts an SQL92 filter into tokens, one at a time, each character looked at a bounded number of times. The token that was
 * read last is in the fields.
 */
export class SqlLexer {
  kind: TokenKind = "end";
  /** Where the token begins and ends in the text. */
  start = 0;
  end = 0;
  /** Value of a text literal, with '' read as one quote; otherwise "". */
  value = "";
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The token as it is written. */
  get image(): string {
    return this.#text.slice(this.start, this.end);
  }

  /** Reads the next token; throws `ExpressionFault` where none begins. */
  advance(): void {
    const text = this.#text;
    const at = this.#skipBlanks(this.end);
    this.start = at;
    this.value = "";
    if (at >= text.length) {
      this.kind = "end";
      this.end = at;
      return;
    }
    const code = text.charCodeAt(at);
    if (isNameStart(code)) this.#word(at);
    else if (isDigit(code) || (code === dot && isDigit(text.charCodeAt(at + 1)))) this.#number(at);
    else if (code === quote) this.#literal(at);
    else this.#sign(at);
  }

  /** Whether the token after this one is the keyword; nothing moves. */
  isFollowedBy(keyword: Keyword): boolean {
    const at = this.#skipBlanks(this.end);
    let end = at;
    while (isNamePart(this.#text.charCodeAt(end))) end++;
    return end - at === keyword.length && this.#text.slice(at, end).toUpperCase() === keyword;
  }

  #skipBlanks(from: number): number {
    const text = this.#text;
    let at = from;
    for (;;) {
      const code = text.charCodeAt(at);
      if (isBlank(code)) at++;
      else if (code === minus && text.charCodeAt(at + 1) === minus) at = this.#lineEnd(at + 2);
      else if (code === slash && text.charCodeAt(at + 1) === star) at = this.#commentEnd(at);
      else return at;
    }
  }

  #lineEnd(from: number): number {
    let at = from;
    while (at < this.#text.length && !isLineEnd(this.#text.charCodeAt(at))) at++;
    return at;
  }

  #commentEnd(start: number): number {
    const end = this.#text.indexOf("*/", start + 2);
    if (end < 0) throw new ExpressionFault(start + 1, "a comment begins here and does not end; close it with */");
    return end + 2;
  }

  #word(at: number): void {
    const text = this.#text;
    let end = at + 1;
    while (isNamePart(text.charCodeAt(end))) end++;
    this.end = end;
    const upper = end - at <= keywordLengthMax ? text.slice(at, end).toUpperCase() : "";
    this.kind = keywords.has(upper) ? (upper as Keyword) : "name";
  }

  #number(at: number): void {
    const text = this.#text;
    let end = this.#digitsEnd(at);
    this.kind = "integer";
    if (text.charCodeAt(end) === dot) {
      this.kind = "decimal";
      end = this.#digitsEnd(end + 1);
    }
    if (isLetter(text.charCodeAt(end), "e")) {
      const afterSign = end + 1 + (isPlusOrMinus(text.charCodeAt(end + 1)) ? 1 : 0);
      if (isDigit(text.charCodeAt(afterSign))) {
        this.kind = "decimal";
        end = this.#digitsEnd(afterSign);
      }
    }
    // Of the integers 0 stands alone: no zeros in front, no L behind.
    const isZero = text.charCodeAt(at) === zero;
    if (this.kind === "integer" && isZero && end > at + 1) {
      throw new ExpressionFault(at + 1, `found ${shown(text.slice(at, end))}; an integer begins with 1 to 9, or is 0`);
    }
    if (this.kind === "integer" && !isZero && isLetter(text.charCodeAt(end), "l")) end++;
    if (isNamePart(text.charCodeAt(end))) {
      const what = `found ${shown(text[end] ?? "")} right behind the number ${shown(text.slice(at, end))}`;
      throw new ExpressionFault(end + 1, `${what}; property names do not begin with a digit, and texts are quoted`);
    }
    this.end = end;
  }

  #digitsEnd(from: number): number {
    let at = from;
    while (isDigit(this.#text.charCodeAt(at))) at++;
    return at;
  }

  #literal(start: number): void {
    const text = this.#text;
    let value = "";
    for (let from = start + 1; ; ) {
      const end = text.indexOf("'", from);
      if (end < 0) {
        const what = "a text begins here and does not end; close it with ', and write a quote within it as ''";
        throw new ExpressionFault(start + 1, what);
      }
      value += text.slice(from, end);
      if (text.charCodeAt(end + 1) !== quote) {
        this.kind = "text";
        this.value = value;
        this.end = end + 1;
        return;
      }
      value += "'";
      from = end + 2;
    }
  }

  #sign(at: number): void {
    const text = this.#text;
    for (const [sign, advice] of strangers) {
      if (text.startsWith(sign, at)) throw new ExpressionFault(at + 1, `found ${shown(sign)}; ${advice}`);
    }
    const two = text.slice(at, at + 2);
    const sign = two === "<>" || two === "<=" || two === ">=" ? two : (text[at] ?? "");
    if (!"=<><=>=(),+-".includes(sign)) {
      const what = `found ${shown(sign)}, which begins nothing`;
      throw new ExpressionFault(at + 1, `${what}; expected a property, a value or an operator`);
    }
    this.kind = sign as Sign;
    this.end = at + sign.length;
  }
}

const quote = 0x27;
const minus = 0x2d;
const dot = 0x2e;
const slash = 0x2f;
const star = 0x2a;
const zero = 0x30;

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09 || code === 0x0c || isLineEnd(code);
const isLineEnd = (code: number): boolean => code === 0x0a || code === 0x0d;
const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39;
const isPlusOrMinus = (code: number): boolean => code === 0x2b || code === minus;
/** In either case. `letter`: a small ASCII letter. */
const isLetter = (code: number, letter: string): boolean => (code | 0x20) === letter.charCodeAt(0);
const isNameStart = (code: number): boolean =>
  ((code | 0x20) >= 0x61 && (code | 0x20) <= 0x7a) || code === 0x5f || code === 0x24;
const isNamePart = (code: number): boolean => isNameStart(code) || isDigit(code);
