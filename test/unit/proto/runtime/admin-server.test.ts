import assert from "node:assert/strict";
import { request } from "undici";
import { AdminServer, jsonAnswer, textAnswer } from "../../../../proto/runtime/admin-server.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";

describe("the admin server", () => {
  let server: AdminServer;
  let port: number;

  beforeEach(async () => {
    server = new AdminServer({ log: silentLog, bodyBytesMax: 100 });
    server.route("GET", "/ready", () => textAnswer(200, "LIVE"));
    server.route("GET", "/v1/topics/:name", ({ parameters }) => jsonAnswer(200, parameters));
    server.route("POST", "/drain", ({ body }) => textAnswer(200, body));
    port = await server.listen({ host: "127.0.0.1", port: 0 });
  });
  afterEach(() => server.close());

  async function ask(method: "GET" | "POST", path: string, headers: Record<string, string> = {}, body?: string) {
    const answer = await request(`http://127.0.0.1:${port}${path}`, { method, headers, ...(body && { body }) });
    return { status: answer.statusCode, text: await answer.body.text() };
  }

  it("answers a route, and decodes its parameters", async () => {
    assert.deepEqual(await ask("GET", "/ready"), { status: 200, text: "LIVE\n" });
    assert.deepEqual(JSON.parse((await ask("GET", "/v1/topics/a%2Fb")).text), { name: "a/b" });
  });

  it("refuses a Host that is not its own, so that DNS rebinding reaches nothing", async () => {
    assert.equal((await ask("GET", "/ready", { host: "evil.example" })).status, 403);
    assert.equal((await ask("GET", "/ready", { host: `localhost:${port}` })).status, 200);
  });

  it("refuses a foreign Origin and a cross-site fetch", async () => {
    assert.equal((await ask("GET", "/ready", { origin: "http://evil.example" })).status, 403);
    assert.equal((await ask("GET", "/ready", { "sec-fetch-site": "cross-site" })).status, 403);
  });

  it("changes nothing without the client header, and nothing by GET", async () => {
    assert.equal((await ask("POST", "/drain", {}, "x")).status, 403);
    assert.deepEqual(await ask("POST", "/drain", { "x-popmesh-client": "test" }, "x"), { status: 200, text: "x\n" });
    assert.equal((await ask("GET", "/drain")).status, 405);
  });

  it("refuses a body over its limit before reading it all", async () => {
    assert.equal((await ask("POST", "/drain", { "x-popmesh-client": "test" }, "x".repeat(101))).status, 413);
  });

  it("says what exists when a path does not", async () => {
    const { status, text } = await ask("GET", "/stats");
    assert.equal(status, 404);
    assert.match(text, /GET \/ready/);
  });
});
