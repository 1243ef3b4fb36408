/** Every order that was sent, and every time that one was handled: what the demo's last table is counted from. */
export class Ledger {
  #sent = new Map();
  #handled = new Map();
  #lastOf = new Map();
  handledBy = { base: 0, canary: 0 };
  failed = 0;
  doubled = 0;
  orderViolations = 0;
  /** Orders of users that the canary had before, handled by base: while it was away. */
  stoodIn = 0;
  canaryUsers = new Set();
  troubles = [];

  sent(user, number) {
    this.#sent.set(`${user} ${number}`, true);
  }

  get sentCount() {
    return this.#sent.size;
  }

  get handledCount() {
    return this.#handled.size;
  }

  /** Orders that nobody has handled. */
  get open() {
    return [...this.#sent.keys()].filter((order) => !this.#handled.has(order));
  }

  /** A line that a consumer of a lane printed. */
  take(lane, line) {
    const [what, user, number, ...rest] = line.split(" ");
    if (what === "failed") this.failed += 1;
    if (what === "trouble") this.troubles.push(`${lane}: ${user} ${number}: ${rest.join(" ")}`);
    if (what !== "handled") return;
    const order = `${user} ${number}`;
    if (this.#handled.has(order)) this.doubled += 1;
    this.#handled.set(order, lane);
    this.handledBy[lane] += 1;
    if (lane === "canary") this.canaryUsers.add(user);
    else if (this.canaryUsers.has(user)) this.stoodIn += 1;
    // The orders of a user are numbered: none may come before an earlier one.
    if (Number(number) < (this.#lastOf.get(user) ?? -1)) this.orderViolations += 1;
    this.#lastOf.set(user, Math.max(Number(number), this.#lastOf.get(user) ?? -1));
  }
}
