import { ZodObject, type ZodType } from "zod";
import { Code } from "../../proto/code.ts";
import type { Now, Operated } from "../broker-port.ts";

/** One method that operators can call, with the shape of its parameters. */
export interface Operation {
  /** "group.describe": what it is about, then what it does. */
  readonly method: string;
  run(parameters: unknown, now: Now): Operated | Promise<Operated>;
}

/**
 * An operation whose parameters are checked before `act` sees them: wrong ones are refused by name. `shape` must be strict: a
 * misspelled `dryRun` or filter that is passed over in silence would do more than was asked for.
 */
export function operation<P>(
  method: string,
  shape: ZodType<P>,
  act: (parameters: P, now: Now) => Operated | Promise<Operated>,
): Operation {
  return {
    method,
    run(parameters, now) {
      const read = shape.safeParse(parameters);
      if (read.success) return act(read.data, now);
      // First of all: what is misspelt is often what is missing.
      const unknown = read.error.issues.find(({ code, path }) => code === "unrecognized_keys" && path.length === 0);
      if (unknown?.code === "unrecognized_keys" && shape instanceof ZodObject) {
        const known = Object.keys(shape.shape);
        const takes = known.length === 0 ? "no parameters" : known.join(", ");
        const message = `${method}: there is no parameter "${unknown.keys.join('", "')}"; it takes ${takes}`;
        return { ok: false, code: Code.BadRequest, message };
      }
      const [first] = read.error.issues;
      const where = first === undefined || first.path.length === 0 ? "the parameters" : first.path.join(".");
      return {
        ok: false,
        code: Code.BadRequest,
        message: `${method}: ${where}: ${first?.message ?? "not understood"}`,
      };
    },
  };
}

/** The operator calls of a broker, by name. */
export class Operations {
  readonly #byMethod: ReadonlyMap<string, Operation>;

  constructor(operations: readonly Operation[]) {
    this.#byMethod = new Map(operations.map((entry) => [entry.method, entry]));
  }

  has(method: string): boolean {
    return this.#byMethod.has(method);
  }

  run(method: string, parameters: unknown, now: Now): Operated | Promise<Operated> {
    const found = this.#byMethod.get(method);
    if (found !== undefined) return found.run(parameters, now);
    const known = [...this.#byMethod.keys()].sort().join(", ");
    const message = `this broker knows no operation "${method}", it knows ${known}; is it older than who asks?`;
    return { ok: false, code: Code.NotImplemented, message };
  }
}
