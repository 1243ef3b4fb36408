import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { repositoryRoot } from "../../../support/running-process.ts";
import { TestControlPlane } from "../../../support/start-control-plane.ts";

/** "GET /v1/namespaces/*", with a star for each part that a caller puts in. */
function routed(method: string, path: string): string {
  return `${method} ${path.replaceAll(/<[^>]+>|\{[^}]+\}|:[a-z]+/g, "*")}`;
}

/** What a document means by a path: with and without what is in brackets, and once for each word of a list in braces. */
function pathsOf(text: string): string[] {
  const [path = ""] = text.split("?");
  const optional = /^(.*)\[(.*)\](.*)$/.exec(path);
  if (optional !== null) {
    const [, before = "", inside = "", behind = ""] = optional;
    return [...pathsOf(before + behind), ...pathsOf(before + inside + behind)];
  }
  const list = /^(.*)\{([^}]*,[^}]*)\}(.*)$/.exec(path);
  if (list === null) return [path];
  const [, before = "", words = "", behind = ""] = list;
  return words.split(",").flatMap((word) => pathsOf(before + word + behind));
}

/** Every route of the HTTP API in the documents; without a method it is a POST, as the table of operator calls says. */
function documentedRoutes(): Map<string, string> {
  const routes = new Map<string, string>();
  for (const name of readdirSync(join(repositoryRoot, "docs")).filter((each) => each.endsWith(".md"))) {
    const text = readFileSync(join(repositoryRoot, "docs", name), "utf8");
    for (const [, method = "POST", path = ""] of text.matchAll(/`(?:(GET|POST|DELETE) )?(\/v1\/[^`\s]*)[^`]*`/g)) {
      for (const each of pathsOf(path)) routes.set(routed(method, each), name);
    }
  }
  return routes;
}

describe("the documents of the HTTP API", () => {
  let known: string[];
  before(async () => {
    const controlPlane = await TestControlPlane.start();
    try {
      const { status, body } = await controlPlane.http("GET", "/nothing");
      assert.equal(status, 404);
      known = body
        .split("\n")
        .map((line) => line.trim().split(" "))
        .filter(([, path = ""]) => path.startsWith("/v1/"))
        .map(([method = "", path = ""]) => routed(method, path));
    } finally {
      await controlPlane.stop();
    }
  });

  it("name no route that there is not", () => {
    assert.ok(known.length > 40, `only ${known.length} routes`);
    const wrong = [...documentedRoutes()].filter(([route]) => !known.includes(route));
    assert.deepEqual(wrong, []);
  });

  it("name every route that there is", () => {
    const documented = documentedRoutes();
    assert.deepEqual(
      known.filter((route) => !documented.has(route)),
      [],
    );
  });
});
