/** What has no place in an expression, outside of texts and comments. */
export const strangers = [
  ..."\u0000\u0001\u0007\b\u000b\u001b\u007f\u0085\u00a0\u200b\u2028\ufeff",
  ..."\\`#@;:?[]{}^~|&%!",
  '"',
  "\uff1d",
  "\u2019",
  "é",
  "🦊",
  "../",
  "$" + "{a}",
  "(?:a+)+$",
] as const;

/** Names that code might trip over. */
export const treacherous = [
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "prototype",
  "eval",
  "Function",
  "$where",
];

export const notUtf8 = ["ff", "c0af", "eda080", "f4908080", "e282", "80"].map((hex) => Buffer.from(hex, "hex"));

export const controls = [..."\u0000\u0001\t\n\r\u001b\u007f\u0085"];

/** What is in no name of a topic or group. */
export const notInNames = [...controls, ..." ./\\'\"`;:*?<>&=+!~#$(){}[],^@é🦊", "../", "..", "%2e/", "\u202e"];

export function put(text: string, at: number, what: string): string {
  return text.slice(0, at) + what + text.slice(at);
}
