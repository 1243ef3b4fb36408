import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Log } from "./log.ts";

/**
 * The HTTP server behind every admin port and the control plane's API. A port on localhost is not private: a web page can
 * reach it, and DNS rebinding makes it same-origin. So the Host header must name this server, a foreign Origin is refused
 * before routing, nothing changes state by GET, and a mutating request must carry JSON or YAML and the header
 * `x-popmesh-client`, which a page of another origin cannot set without asking.
 */
export interface AdminRequest {
  readonly method: string;
  /** Without query, percent-decoded segment by segment where the route has a parameter. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Values of `:name` segments of the route. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly body: string;
  header(name: string): string | undefined;
}

export interface AdminAnswer {
  readonly status: number;
  readonly contentType?: string;
  readonly body: string | Buffer;
}

export type AdminHandler = (request: AdminRequest) => AdminAnswer | Promise<AdminAnswer>;

export interface AdminServerOptions {
  readonly log: Log;
  /** Names beside localhost, 127.0.0.1, [::1] and the listen host that a Host header may carry. */
  readonly allowedHosts?: readonly string[];
  /** Longest request body in bytes. */
  readonly bodyBytesMax?: number;
}

interface Route {
  readonly method: string;
  readonly segments: readonly string[];
  readonly handler: AdminHandler;
}

/** A JSON answer. */
export function jsonAnswer(status: number, value: unknown): AdminAnswer {
  return { status, contentType: "application/json; charset=utf-8", body: `${JSON.stringify(value, null, 2)}\n` };
}

export function textAnswer(status: number, body: string): AdminAnswer {
  return { status, contentType: "text/plain; charset=utf-8", body: body.endsWith("\n") ? body : `${body}\n` };
}

const headerBytesMax = 8 * 1024;
const requestMsMax = 10_000;
const connectionsMax = 100;
const bodyBytesMaxDefault = 1024 * 1024;

export class AdminServer {
  readonly #routes: Route[] = [];
  readonly #server: Server;
  readonly #options: AdminServerOptions;
  readonly #hosts: Set<string>;

  constructor(options: AdminServerOptions) {
    this.#options = options;
    this.#hosts = new Set(["localhost", "127.0.0.1", "[::1]", ...(options.allowedHosts ?? [])]);
    this.#server = createServer(
      { maxHeaderSize: headerBytesMax, requestTimeout: requestMsMax, headersTimeout: requestMsMax },
      (request, response) => void this.#serve(request, response),
    );
    this.#server.maxConnections = connectionsMax;
  }

  /** `path` may hold parameters: "/v1/topics/:name". A request gets the first route that fits. */
  route(method: "GET" | "POST" | "PUT" | "DELETE", path: string, handler: AdminHandler): void {
    this.#routes.push({ method, segments: path.split("/"), handler });
  }

  /** Resolves with the bound port; rejects with the system's error (EADDRINUSE). */
  listen(at: { readonly host: string; readonly port: number }): Promise<number> {
    this.#hosts.add(at.host.includes(":") ? `[${at.host}]` : at.host);
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(at.port, at.host, () => {
        this.#server.off("error", reject);
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let answer: AdminAnswer;
    try {
      answer = this.#refuse(request) ?? (await this.#answer(request));
    } catch (error) {
      this.#options.log.error({ err: error, path: request.url }, "admin request failed");
      answer = textAnswer(500, `internal error: ${error instanceof Error ? error.message : String(error)}`);
    }
    response.writeHead(answer.status, {
      "content-type": answer.contentType ?? "text/plain; charset=utf-8",
      "x-content-type-options": "nosniff",
      "cache-control": "no-store",
      "content-security-policy": "default-src 'self'",
    });
    response.end(answer.body);
  }

  /** Answers what must not reach a route at all; undefined when the request is fine. */
  #refuse(request: IncomingMessage): AdminAnswer | undefined {
    const host = (request.headers.host ?? "").replace(/:\d+$/, "").toLowerCase();
    if (!this.#hosts.has(host)) {
      return textAnswer(403, `Host "${request.headers.host ?? ""}" is not served here; use localhost`);
    }
    const origin = request.headers.origin;
    if (origin !== undefined && origin !== `http://${request.headers.host}`) {
      return textAnswer(403, `requests from origin ${origin} are not allowed`);
    }
    if (request.headers["sec-fetch-site"] === "cross-site")
      return textAnswer(403, "cross-site requests are not allowed");
    if (request.method !== "GET" && request.headers["x-popmesh-client"] === undefined) {
      return textAnswer(403, "a request that changes something needs the header x-popmesh-client (any value)");
    }
    return undefined;
  }

  async #answer(request: IncomingMessage): Promise<AdminAnswer> {
    const url = new URL(request.url ?? "/", "http://localhost");
    const segments = url.pathname.split("/");
    let otherMethod: string | undefined;
    for (const route of this.#routes) {
      const parameters = matchSegments(route.segments, segments);
      if (parameters === undefined) continue;
      if (route.method !== request.method) {
        otherMethod = route.method;
        continue;
      }
      const body = await readBody(request, this.#options.bodyBytesMax ?? bodyBytesMaxDefault);
      if (body === undefined) return textAnswer(413, "the request body is too large");
      return route.handler({
        method: route.method,
        path: url.pathname,
        query: url.searchParams,
        parameters,
        body,
        header: (name) => {
          const value = request.headers[name];
          return Array.isArray(value) ? value.join(", ") : value;
        },
      });
    }
    if (otherMethod !== undefined)
      return textAnswer(405, `${url.pathname} takes ${otherMethod}, not ${request.method}`);
    const known = [...new Set(this.#routes.map((route) => `${route.method} ${route.segments.join("/")}`))].sort();
    return textAnswer(404, `${url.pathname} does not exist here. Known:\n  ${known.join("\n  ")}`);
  }
}

function matchSegments(pattern: readonly string[], segments: readonly string[]): Record<string, string> | undefined {
  if (pattern.length !== segments.length) return undefined;
  const parameters: Record<string, string> = {};
  for (let i = 0; i < pattern.length; i++) {
    const part = pattern[i] ?? "";
    const segment = segments[i] ?? "";
    if (!part.startsWith(":")) {
      if (part !== segment) return undefined;
      continue;
    }
    try {
      parameters[part.slice(1)] = decodeURIComponent(segment);
    } catch {
      return undefined;
    }
  }
  return parameters;
}

/** Undefined when it is longer than allowed. */
async function readBody(request: IncomingMessage, bytesMax: number): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
