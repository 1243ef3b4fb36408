import { type Command, Option } from "commander";
import { sleep } from "../../proto/runtime/clock.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { type ApiClient, type AppliedLine, CommandError } from "./api-client.ts";
import { durationOf } from "./argument.ts";
import { print, printError } from "./output.ts";
import { resourcePath } from "./resource-path.ts";

const lookMs = 100;

/** What of a rule's view is read here. */
interface RuleStatus {
  readonly generation: number;
  readonly rolledBackBecause?: string;
  readonly publication: { readonly state: string; readonly waitsFor: readonly string[] };
  readonly brokers: readonly { readonly broker: string; readonly state: string; readonly reason?: string }[];
}

export interface WaitOptions {
  readonly wait: boolean;
  /** Milliseconds. */
  readonly timeout: number;
}

const waitMsDefault = 30_000;

/** Adds the options of a command that puts lane rules into force. */
export function withWait(command: Command): Command {
  return command
    .option("--no-wait", "do not wait until lane rules are in force at every broker")
    .addOption(
      new Option("--timeout <duration>", "how long to wait").argParser(durationOf).default(waitMsDefault, "30s"),
    );
}

/** Waits for the lane rules among what was applied, and tells of each how it ended; the exit code is 1 when one is not in force. */
export async function untilInForce(
  api: ApiClient,
  lines: readonly AppliedLine[],
  { wait, timeout }: WaitOptions,
): Promise<void> {
  if (!wait) return;
  for (const applied of lines.filter(({ kind }) => kind === "LaneRule")) {
    const { ok, text } = await waitInForce(api, applied, timeout);
    const line = `LaneRule ${applied.namespace}/${applied.name}: ${text}`;
    if (!ok) {
      printError(`popmesh: ${line}`);
      process.exitCode = 1;
    } else if (text !== "") print(line);
  }
}

/** How a wait ended; `text` for people, "" where there is nothing to say. */
interface Waited {
  readonly ok: boolean;
  readonly text: string;
}

/** Waits until a version of a lane rule is in force at every broker that holds its topic, or was taken back, or time is over. */
async function waitInForce(
  api: ApiClient,
  { namespace, name, generation = 0 }: AppliedLine,
  timeoutMs: number,
): Promise<Waited> {
  const clock = new NodeClock();
  const endMs = clock.monotonicMs() + timeoutMs;
  const path = resourcePath("lanerule", namespace, name) ?? "";
  for (;;) {
    let status: RuleStatus;
    try {
      status = (await api.get(path)).status as unknown as RuleStatus;
    } catch (error) {
      // It is gone: the answer says why, where it was taken back.
      if (error instanceof CommandError && error.message.includes("does not exist")) {
        return { ok: false, text: error.message };
      }
      throw error;
    }
    if (status.generation !== generation) {
      const why = status.rolledBackBecause ?? "somebody changed it meanwhile";
      return { ok: false, text: `version ${generation} is not in force, version ${status.generation} is: ${why}` };
    }
    const { state, waitsFor } = status.publication;
    if (state === "complete") {
      const count = status.brokers.length;
      const all = count === 1 ? "its broker" : `all ${count} brokers`;
      return { ok: true, text: count === 0 ? "" : `version ${generation} is in force at ${all}` };
    }
    if (clock.monotonicMs() >= endMs) {
      const behind = status.brokers
        .filter(({ broker }) => waitsFor.includes(broker))
        .map(
          ({ broker, state: is, reason }) => `broker ${broker} is ${is}${reason === undefined ? "" : ` (${reason})`}`,
        );
      return {
        ok: false,
        text:
          `version ${generation} is not in force everywhere after ${timeoutMs / 1000} s (${state}): ${behind.join("; ")}. ` +
          `It goes on; popmesh describe lanerule ${name} tells how it stands`,
      };
    }
    await sleep(clock, lookMs);
  }
}
