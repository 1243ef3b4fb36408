/**
 * The Huffman code of HPACK (RFC 7541 appendix B). It is canonical: the lengths alone give the codes. Decoding walks a
 * state table four bits at a time; no symbol is shorter than five bits, so a step emits at most one.
 */

/** Bits per symbol 0..255, then of the end-of-string symbol. */
const codeBits: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
  28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6,
  5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23,
  22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22,
  23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26,
  20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27,
  27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
  27, 27, 27, 26, 30,
];

const endOfString = 256;

/** Code of each symbol, for encoding; filled while the tree is built. */
const codes = new Uint32Array(257);

/** Inner nodes: children[2 * node + bit] is an inner node, or -1 - symbol for a leaf. The root is node 0. */
const children = buildTree();

/** One step of four bits: the next state (an inner node), the symbol that got complete, and marks. */
const emits = 0x1_0000;
const fails = 0x2_0000;
const symbolShift = 18;
const stateMask = 0xffff;

/** Indexed by `state * 16 + nibble`. */
const transitions = buildTransitions();

/** States in which a string may end: at most seven bits, all ones, of a symbol not completed (RFC 7541 §5.2). */
const mayEnd = buildMayEnd();

function buildTree(): readonly number[] {
  const symbols = codeBits.map((_, symbol) => symbol).sort((a, b) => codeBits[a]! - codeBits[b]! || a - b);
  const tree = [0, 0];
  let code = 0;
  let bitsBefore = codeBits[symbols[0]!]!;
  for (const symbol of symbols) {
    const bits = codeBits[symbol]!;
    code *= 2 ** (bits - bitsBefore);
    bitsBefore = bits;
    codes[symbol] = code;
    let node = 0;
    for (let bit = bits - 1; bit > 0; bit--) {
      const edge = 2 * node + ((code >>> bit) & 1);
      if (tree[edge] === 0) {
        tree[edge] = tree.length / 2;
        tree.push(0, 0);
      }
      node = tree[edge]!;
    }
    tree[2 * node + (code & 1)] = -1 - symbol;
    code++;
  }
  return tree;
}

function buildTransitions(): Int32Array {
  const states = children.length / 2;
  const table = new Int32Array(states * 16);
  for (let state = 0; state < states; state++) {
    for (let nibble = 0; nibble < 16; nibble++) table[state * 16 + nibble] = step(state, nibble);
  }
  return table;
}

function step(state: number, nibble: number): number {
  let node = state;
  let entry = 0;
  for (let bit = 3; bit >= 0; bit--) {
    const child = children[2 * node + ((nibble >>> bit) & 1)]!;
    if (child >= 0) {
      node = child;
    } else if (-1 - child === endOfString) {
      return fails;
    } else {
      entry = emits | ((-1 - child) << symbolShift);
      node = 0;
    }
  }
  return entry | node;
}

function buildMayEnd(): Uint8Array {
  const table = new Uint8Array(children.length / 2);
  let node = 0;
  for (let bits = 0; bits <= 7; bits++) {
    table[node] = 1;
    node = children[2 * node + 1]!;
  }
  return table;
}

/**
 * Decodes `bytes[start, end)` into `into` from `at` on and returns the position behind the last symbol, or -1 when it is
 * no valid code. `into` must have room for 8/5 of the input: the shortest code has five bits.
 */
export function huffmanDecode(bytes: Uint8Array, start: number, end: number, into: Uint8Array, at: number): number {
  let state = 0;
  let to = at;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    const high = transitions[(state << 4) | (byte >>> 4)]!;
    if ((high & emits) !== 0) into[to++] = high >>> symbolShift;
    const low = transitions[((high & stateMask) << 4) | (byte & 15)]!;
    if ((low & emits) !== 0) into[to++] = low >>> symbolShift;
    if (((high | low) & fails) !== 0) return -1;
    state = low & stateMask;
  }
  return mayEnd[state] === 1 ? to : -1;
}

/** Most bytes that `encodedBytes` of Huffman code can decode to. */
export function huffmanDecodedBytesMax(encodedBytes: number): number {
  return Math.ceil((encodedBytes * 8) / 5);
}

/** Bytes that `text` (characters 0..255) takes in Huffman code. */
export function huffmanEncodedBytes(text: string): number {
  let bits = 0;
  for (let i = 0; i < text.length; i++) bits += codeBits[text.charCodeAt(i) & 0xff]!;
  return (bits + 7) >>> 3;
}

/** Writes `text` (characters 0..255) as Huffman code and returns the position behind it. */
export function huffmanEncode(text: string, into: Uint8Array, at: number): number {
  let to = at;
  let held = 0;
  let heldBits = 0;
  for (let i = 0; i < text.length; i++) {
    const symbol = text.charCodeAt(i) & 0xff;
    let bits = codeBits[symbol]!;
    const code = codes[symbol]!;
    // At most 7 bits are held and a code has at most 30: take it in two parts to stay within 32 bits.
    if (bits > 16) {
      bits -= 16;
      held = (held << bits) | (code >>> 16);
      heldBits += bits;
      while (heldBits >= 8) into[to++] = (held >>> (heldBits -= 8)) & 0xff;
      bits = 16;
    }
    held = ((held & 0xff) << bits) | (code & (2 ** bits - 1));
    heldBits += bits;
    while (heldBits >= 8) into[to++] = (held >>> (heldBits -= 8)) & 0xff;
  }
  if (heldBits > 0) into[to++] = ((held << (8 - heldBits)) | (0xff >>> heldBits)) & 0xff;
  return to;
}
