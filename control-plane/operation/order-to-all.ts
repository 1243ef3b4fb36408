import { Code } from "../../proto/code.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { BrokerAnswer } from "./broker-operator.ts";
import { unanswered } from "./group-status.ts";

/** What several brokers said to one order or question, side by side. */
export interface FromAll<R> {
  readonly brokers: readonly ({ readonly broker: string } & R)[];
  /** Brokers that could not be asked, or refused. */
  readonly unanswered: readonly { readonly broker: string; readonly error: string }[];
}

/**
 * Puts the answers side by side. Throws what the brokers said when none did as it was told, so that an order that nobody
 * understood is an error and not an empty success; an absence (4040x) on some brokers is none while another has the thing.
 */
export function fromAll<R extends object>(answers: readonly BrokerAnswer<R>[]): FromAll<R> {
  if (answers.length === 0) {
    throw new MeshError(Code.NotFound, "no broker is registered; popmesh get brokers lists those that are");
  }
  const brokers = answers.flatMap((answer) => (answer.ok ? [{ broker: answer.broker, ...answer.result }] : []));
  const failures = answers.flatMap((answer) => (answer.ok ? [] : [answer.error]));
  const [first] = failures;
  if (brokers.length === 0 && first !== undefined) throw failures.find(({ code }) => !isAbsence(code)) ?? first;
  return { brokers, unanswered: unanswered(answers.filter((answer) => answer.ok || !isAbsence(answer.error.code))) };
}

/** Whether a code says that there is no such thing, which is no failure of whoever says so. */
export function isAbsence(code: number): boolean {
  return Math.floor(code / 100) === 404;
}
