import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

/**
 * Settings of a process: each can be given by flag (`--data-dir x`), by variable (`POPMESH_BROKER_DATA_DIR`) or in a JSON
 * config file (`--config file`, key `dataDir`), in this order of precedence, else it has its default. The result is
 * complete and frozen; every mistake is reported at once, saying where it was made.
 *
 *     const settings = readSettings("broker", {
 *       dataDir: text("directory that holds the log", "./.popmesh/broker"),
 *       listen: address("where sidecars connect", "127.0.0.1:17000"),
 *     }, { argv, environment });
 *     settings.listen.port
 */
export function readSettings<S extends SettingTable>(
  processName: string,
  table: S,
  source: { readonly argv: readonly string[]; readonly environment: Readonly<Record<string, string | undefined>> },
): Settings<S> {
  const mistakes: string[] = [];
  const flags = readFlags(table, source.argv, mistakes);
  const variablePrefix = `POPMESH_${constantCase(processName)}_`;
  const file = readConfigFile(flags["config"] ?? source.environment[`${variablePrefix}CONFIG`], table, mistakes);
  const values: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(table)) {
    const variable = variablePrefix + constantCase(name);
    const [raw, where] =
      flags[kebabCase(name)] !== undefined
        ? [flags[kebabCase(name)], `--${kebabCase(name)}`]
        : source.environment[variable] !== undefined
          ? [source.environment[variable], variable]
          : file[name] !== undefined
            ? [file[name], `"${name}" of the config file`]
            : [undefined, ""];
    if (raw === undefined) {
      values[name] = setting.fallback;
      continue;
    }
    const parsed = setting.parse(raw);
    if (parsed.ok) values[name] = parsed.value;
    else mistakes.push(`${where}: ${JSON.stringify(raw)} is not ${parsed.expected} (${setting.help})`);
  }
  if (mistakes.length > 0) throw new SettingsError(processName, mistakes);
  return Object.freeze(values) as Settings<S>;
}

/** What can be set, as text for `--help`. */
export function describeSettings(processName: string, table: SettingTable): string {
  const rows = Object.entries(table).map(([name, setting]) => {
    const variable = `POPMESH_${constantCase(processName)}_${constantCase(name)}`;
    return `  --${kebabCase(name).padEnd(24)}${setting.help} (default ${setting.fallbackText}; ${variable})`;
  });
  return [...rows, `  --${"config".padEnd(24)}JSON file with these settings by camelCase name`].join("\n");
}

/** All mistakes in the settings of a process. */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
  readonly mistakes: readonly string[];

  constructor(processName: string, mistakes: readonly string[]) {
    super(
      `${processName}: ${mistakes.length} wrong setting${mistakes.length > 1 ? "s" : ""}:\n  ${mistakes.join("\n  ")}`,
    );
    this.mistakes = mistakes;
  }
}

export interface Setting<T> {
  readonly help: string;
  readonly fallback: T;
  readonly fallbackText: string;
  parse(raw: string): { readonly ok: true; readonly value: T } | { readonly ok: false; readonly expected: string };
}
export type SettingTable = Readonly<Record<string, Setting<unknown>>>;
export type Settings<S extends SettingTable> = { readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never };

export interface HostAndPort {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
}

export function text(help: string, fallback: string): Setting<string> {
  return { help, fallback, fallbackText: JSON.stringify(fallback), parse: (raw) => ({ ok: true, value: raw }) };
}

export function choice<T extends string>(help: string, fallback: T, choices: readonly T[]): Setting<T> {
  return {
    help,
    fallback,
    fallbackText: fallback,
    parse: (raw) =>
      choices.includes(raw as T)
        ? { ok: true, value: raw as T }
        : { ok: false, expected: `one of ${choices.join(", ")}` },
  };
}

/** A whole number within [min, max]. */
export function integer(help: string, fallback: number, min: number, max: number): Setting<number> {
  return {
    help,
    fallback,
    fallbackText: String(fallback),
    parse: (raw) => {
      const value = Number(raw);
      return raw.trim() !== "" && Number.isInteger(value) && value >= min && value <= max
        ? { ok: true, value }
        : { ok: false, expected: `a whole number from ${min} to ${max}` };
    },
  };
}

/** Milliseconds, written "250ms", "2s", "5m", "1h" or a plain number of milliseconds. */
export function durationMs(help: string, fallback: string): Setting<number> {
  const parse: Setting<number>["parse"] = (raw) => {
    const value = parseDurationMs(raw);
    return value === undefined
      ? { ok: false, expected: 'a duration such as "250ms", "2s", "5m"' }
      : { ok: true, value };
  };
  return { help, fallback: requireFallback(parse(fallback)), fallbackText: fallback, parse };
}

/** Bytes, written "64MiB", "512KiB" or a plain number. */
export function bytes(help: string, fallback: string): Setting<number> {
  const units: Readonly<Record<string, number>> = { "": 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };
  const parse: Setting<number>["parse"] = (raw) => {
    const match = /^(\d{1,12})(KiB|MiB|GiB|)$/.exec(raw.trim());
    return match === null
      ? { ok: false, expected: 'a size such as "64MiB"' }
      : { ok: true, value: Number(match[1]) * (units[match[2] ?? ""] ?? 1) };
  };
  return { help, fallback: requireFallback(parse(fallback)), fallbackText: fallback, parse };
}

/** "host:port" or "[::1]:port". "" is allowed where `optional` says so and gives undefined. */
export function address(help: string, fallback: string): Setting<HostAndPort> {
  const parse: Setting<HostAndPort>["parse"] = (raw) => {
    const value = parseAddress(raw);
    return value === undefined ? { ok: false, expected: 'an address such as "127.0.0.1:8081"' } : { ok: true, value };
  };
  return { help, fallback: requireFallback(parse(fallback)), fallbackText: fallback, parse };
}

export function optionalAddress(help: string, fallback: string): Setting<HostAndPort | undefined> {
  const inner = address(help, fallback === "" ? "127.0.0.1:0" : fallback);
  return {
    help: `${help}; "" for none`,
    fallback: fallback === "" ? undefined : inner.fallback,
    fallbackText: fallback === "" ? "none" : fallback,
    parse: (raw) => (raw === "" ? { ok: true, value: undefined } : inner.parse(raw)),
  };
}

/** "true" or "false"; as a flag it needs its value too (`--bootstrap true`). */
export function toggle(help: string, fallback: boolean): Setting<boolean> {
  return {
    help,
    fallback,
    fallbackText: String(fallback),
    parse: (raw) =>
      raw === "true" || raw === "false"
        ? { ok: true, value: raw === "true" }
        : { ok: false, expected: "true or false" },
  };
}

/** Undefined when the text is no duration. */
export function parseDurationMs(raw: string): number | undefined {
  const factors: Readonly<Record<string, number>> = { "": 1, ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
  const match = /^(\d{1,10}(?:\.\d{1,3})?)(ms|s|m|h|d|)$/.exec(raw.trim());
  return match === null ? undefined : Number(match[1]) * (factors[match[2] ?? ""] ?? 1);
}

export function parseAddress(raw: string): HostAndPort | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(raw.trim());
  const port = Number(match?.[3]);
  return match === null || port > 65_535 ? undefined : { host: match[1] ?? match[2] ?? "", port };
}

function requireFallback<T>(parsed: ReturnType<Setting<T>["parse"]>): T {
  if (!parsed.ok) throw new Error(`a default is not ${parsed.expected}`);
  return parsed.value;
}

function readFlags(
  table: SettingTable,
  argv: readonly string[],
  mistakes: string[],
): Record<string, string | undefined> {
  const names = [...Object.keys(table).map(kebabCase), "config"];
  const options = Object.fromEntries(names.map((name) => [name, { type: "string" as const }]));
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, tokens: true });
  const flags: Record<string, string | undefined> = {};
  // The value of an unknown flag is no mistake of its own.
  let valueOfUnknown = false;
  for (const token of tokens) {
    if (token.kind === "positional" && !valueOfUnknown) {
      mistakes.push(`"${token.value}" is not a flag; flags look like --${names[0]} VALUE`);
    }
    valueOfUnknown = false;
    if (token.kind !== "option") continue;
    if (!names.includes(token.name)) {
      mistakes.push(`--${token.name} is unknown; known: ${names.map((n) => `--${n}`).join(" ")}`);
      valueOfUnknown = token.value === undefined;
    } else if (token.value === undefined) mistakes.push(`--${token.name} needs a value`);
    else flags[token.name] = token.value;
  }
  return flags;
}

function readConfigFile(path: string | undefined, table: SettingTable, mistakes: string[]): Record<string, string> {
  if (path === undefined) return {};
  const values: Record<string, string> = {};
  try {
    const parsed: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed))
      throw new Error("it must hold one object");
    for (const [name, value] of Object.entries(parsed)) {
      if (name in table) values[name] = String(value);
      else mistakes.push(`config file ${path}: "${name}" is unknown; known: ${Object.keys(table).join(", ")}`);
    }
  } catch (error) {
    mistakes.push(`config file ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  return values;
}

function kebabCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function constantCase(name: string): string {
  return kebabCase(name).replaceAll("-", "_").toUpperCase();
}
