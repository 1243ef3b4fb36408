import type { Command } from "commander";
import { request } from "undici";
import { ApiClient, CommandError, type ServerOption, withServer } from "./api-client.ts";
import { formatted, type OutputOption, tableText, withOutput } from "./format.ts";
import { print, printError } from "./output.ts";

const brokerAdminDefault = "127.0.0.1:17001";
const sidecarAdminDefault = "127.0.0.1:15000";
/** An admin port on this machine or network; who is silent for longer is not there. */
const adminMsMax = 5_000;

interface LanesOptions extends ServerOption, OutputOption {
  readonly brokerAdmin: readonly string[];
  readonly sidecarAdmin: readonly string[];
}

/** What one broker or sidecar said. */
interface Said {
  readonly kind: "broker" | "sidecar";
  /** Its name, or where it was asked. */
  readonly who: string;
  readonly state?: "on" | "off";
  /** Of a broker: lanes of all groups in all topics, and what they hold. */
  readonly lanes?: number;
  readonly ready?: number;
  readonly inFlight?: number;
  /** Of a sidecar. */
  readonly lane?: string;
  readonly error?: string;
}

const several = (value: string, before: readonly string[]): string[] => [...before, value];

/**
 * `popmesh lanes off|on|status`: the kill switch. With a control plane it reaches every broker and sidecar by it; without one, or where
 * addresses are named, it speaks to their admin ports itself.
 */
export function register(program: Command): void {
  const lanes = program.command("lanes").description("suspend all lanes, let them go on, or show how it stands");
  for (const [name, description] of [
    ["off", "hand every lane's messages to base at once; rules are kept and suspended"],
    ["on", "let lanes go on"],
    ["status", "whether lanes are on at each broker and sidecar"],
  ] as const) {
    withOutput(
      withServer(
        lanes
          .command(name)
          .description(description)
          .option("--broker-admin <host:port>", "a broker's admin port; may be given several times", several, [])
          .option("--sidecar-admin <host:port>", "a sidecar's admin port; may be given several times", several, []),
      ),
    ).action(async (options: LanesOptions) => {
      const said = await toAll(name === "status" ? undefined : name, options);
      print(formatted(options.output, said, () => statusText(said)));
      const failed = said.filter(({ error }) => error !== undefined);
      for (const { kind, who, error } of failed) printError(`popmesh: ${kind} ${who}: ${error}`);
      // Half a kill switch must not look like a whole one.
      if (failed.length > 0) process.exitCode = 1;
    });
  }
}

async function toAll(state: "on" | "off" | undefined, options: LanesOptions): Promise<Said[]> {
  const { brokerAdmin, sidecarAdmin } = options;
  if (brokerAdmin.length + sidecarAdmin.length > 0) return toPorts(state, brokerAdmin, sidecarAdmin);
  const found = await byControlPlane(state, options);
  if (typeof found !== "string") return found;
  printError(
    `popmesh: ${found} Asking the admin ports of this machine; name others with --broker-admin and --sidecar-admin.`,
  );
  return toPorts(state, [brokerAdminDefault], [sidecarAdminDefault]);
}

/** A text when there is no control plane. */
async function byControlPlane(state: "on" | "off" | undefined, options: LanesOptions): Promise<Said[] | string> {
  const api = new ApiClient(options);
  let answer: {
    brokers: (Said & { broker: string })[];
    sidecars: { id: string; lane: string; admin: string | null }[];
  };
  try {
    answer = (await (state === undefined
      ? api.ask("GET", "/v1/lanes")
      : api.post("/v1/lanes", { state }))) as typeof answer;
  } catch (error) {
    if (error instanceof CommandError && error.message.startsWith("no control plane")) return error.message;
    throw error;
  }
  const brokers = answer.brokers.map(({ broker, ...said }): Said => ({ ...said, kind: "broker", who: broker }));
  const sidecars = await Promise.all(
    answer.sidecars.map(async ({ id, admin }): Promise<Said> => {
      if (admin === null) return { kind: "sidecar", who: id, error: "it does not say where its admin port is" };
      return { ...(await toPort("sidecar", admin, state)), who: `${id} (${admin})` };
    }),
  );
  return [...brokers, ...sidecars];
}

function toPorts(
  state: "on" | "off" | undefined,
  brokers: readonly string[],
  sidecars: readonly string[],
): Promise<Said[]> {
  return Promise.all([
    ...brokers.map((at) => toPort("broker", at, state)),
    ...sidecars.map((at) => toPort("sidecar", at, state)),
  ]);
}

async function toPort(kind: Said["kind"], at: string, state: "on" | "off" | undefined): Promise<Said> {
  try {
    const { statusCode, body } = await request(`http://${at}/lanes${state === undefined ? "" : `?state=${state}`}`, {
      method: state === undefined ? "GET" : "POST",
      headers: { "x-popmesh-client": "popmesh lanes" },
      headersTimeout: adminMsMax,
      bodyTimeout: adminMsMax,
    });
    const text = await body.text();
    if (statusCode !== 200) return { kind, who: at, error: `it answered ${statusCode}: ${text.slice(0, 300)}` };
    return { ...(JSON.parse(text) as object), kind, who: at };
  } catch (error) {
    return { kind, who: at, error: `not reached: ${error instanceof Error ? error.message : String(error)}` };
  }
}

function statusText(said: readonly Said[]): string {
  if (said.length === 0) return "no broker is registered and no sidecar connected";
  return tableText(
    ["KIND", "WHO", "SWITCH", "OWN LANE", "LANES", "READY", "IN FLIGHT"],
    said.map(({ kind, who, state, lanes, ready, inFlight, lane }) =>
      [kind, who, state ?? "not known", lane ?? "-", lanes ?? "-", ready ?? "-", inFlight ?? "-"].map(String),
    ),
  );
}
