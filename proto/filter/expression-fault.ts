/** Why a filter expression is refused. `message` says where, what was expected and how to mend it. */
export class ExpressionFault extends Error {
  /** Of the first character that does not fit, from 1; 0 when the whole is meant. */
  readonly position: number;

  constructor(position: number, what: string) {
    super(position === 0 ? what : `at character ${position}: ${what}`);
    this.position = position;
  }
}

/** Longest piece of an expression that an error text repeats. */
const shownMax = 40;

/** A piece of somebody's text within an error text: short, and with nothing in it that could forge a line or hide. */
export function shown(text: string, max: number = shownMax): string {
  let result = "";
  for (let i = 0; i < text.length; i++) {
    if (result.length >= max) return `"${result}…"`;
    const code = text.charCodeAt(i);
    result += code >= 0x20 && code < 0x7f ? text[i] : `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
  }
  return `"${result}"`;
}
