import type { Command } from "commander";
import { request } from "undici";
import type { ResourceView } from "../api/view.ts";
import type { ManifestMistake } from "../resource/manifest-mistake.ts";

export const defaultServer = "http://127.0.0.1:18080";

/** Why a command could not do what it was asked; the text is for the user as it stands. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

/** Adds the option that says where the control plane is. */
export function withServer(command: Command): Command {
  const server = process.env["POPMESH_SERVER"] ?? defaultServer;
  return command.option("--server <url>", "HTTP API of the control plane (also POPMESH_SERVER)", server);
}

export interface ServerOption {
  readonly server: string;
}

export interface AppliedLine {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly outcome: string;
  /** Of a lane rule: its version now. */
  readonly generation?: number;
  readonly warnings?: readonly string[];
}

/** The control plane's HTTP API as the commands use it. */
export class ApiClient {
  readonly #server: string;

  constructor({ server }: ServerOption) {
    this.#server = server.replace(/\/$/, "");
  }

  async list(path: string): Promise<ResourceView[]> {
    const { items } = (await this.ask("GET", path)) as { items: ResourceView[] };
    return items;
  }

  async get(path: string): Promise<ResourceView> {
    return (await this.ask("GET", path)) as ResourceView;
  }

  async delete(path: string): Promise<void> {
    await this.ask("DELETE", path);
  }

  /** Applies manifests given as YAML or JSON text; `source` names the file in errors, left out when no user wrote the text. */
  async apply(text: string, source?: string): Promise<AppliedLine[]> {
    const { applied } = (await this.ask("POST", "/v1/apply", text, source)) as { applied: AppliedLine[] };
    return applied;
  }

  /** An order or question to the brokers, with its parameters as JSON. */
  post(path: string, parameters: object): Promise<unknown> {
    return this.ask("POST", path, JSON.stringify(parameters));
  }

  /** Any call of the API: its JSON answer, or `CommandError` with what the control plane said. */
  async ask(method: "GET" | "POST" | "DELETE", path: string, body?: string, source?: string): Promise<unknown> {
    let status: number;
    let text: string;
    try {
      const answer = await request(`${this.#server}${path}`, {
        method,
        headers: { "x-popmesh-client": "popmesh", "content-type": "application/yaml" },
        ...(body === undefined ? {} : { body }),
      });
      status = answer.statusCode;
      text = await answer.body.text();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new CommandError(
        `no control plane at ${this.#server} (${why}). Start one with "popmesh up", or name it with --server URL.`,
      );
    }
    if (status < 300) return JSON.parse(text);
    throw new CommandError(refusalText(status, text, source));
  }
}

function refusalText(status: number, text: string, source: string | undefined): string {
  try {
    const { error, mistakes } = JSON.parse(text) as { error?: string; mistakes?: ManifestMistake[] };
    if (mistakes === undefined) return error ?? text;
    const lines = mistakes.map(({ line, column, path, reason }) => {
      const place = source === undefined ? "" : `${source}:${line}:${column}: `;
      return `  ${place}${path === "" ? "" : `${path}: `}${reason}`;
    });
    return [error ?? "refused", ...lines].join("\n");
  } catch {
    return `the control plane answered ${status}: ${text.trim()}`;
  }
}
