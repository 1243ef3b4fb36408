/** Texts that many slots share (client ids, lanes), counted: the last user takes the text along. Number 0 is "". */
export class TextTable {
  readonly #numbers = new Map<string, number>();
  readonly #texts: string[] = [""];
  readonly #users: number[] = [0];
  readonly #free: number[] = [];

  /** Number of a text that is in the table; -1 when it is not. */
  find(text: string): number {
    return text === "" ? 0 : (this.#numbers.get(text) ?? -1);
  }

  /** Number of a text, one user more. */
  acquire(text: string): number {
    if (text === "") return 0;
    const known = this.#numbers.get(text);
    if (known !== undefined) {
      this.#users[known] = this.#users[known]! + 1;
      return known;
    }
    const number = this.#free.pop() ?? this.#texts.length;
    this.#texts[number] = text;
    this.#users[number] = 1;
    this.#numbers.set(text, number);
    return number;
  }

  release(number: number): void {
    if (number === 0) return;
    const users = this.#users[number]! - 1;
    this.#users[number] = users;
    if (users > 0) return;
    this.#numbers.delete(this.#texts[number]!);
    this.#texts[number] = "";
    this.#free.push(number);
  }

  text(number: number): string {
    return this.#texts[number]!;
  }

  get count(): number {
    return this.#numbers.size;
  }
}
