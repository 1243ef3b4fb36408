import type { Code } from "../../proto/code.ts";
import type { UpstreamFailure } from "../upstream/upstream.ts";

/** The answer to a call that no broker is asked: as an upstream refuses one. */
export function refused(code: Code, message: string): UpstreamFailure {
  return { ok: false, code, message, reach: "refused" };
}
