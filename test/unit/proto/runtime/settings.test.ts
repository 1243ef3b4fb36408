import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  address,
  bytes,
  choice,
  describeSettings,
  durationMs,
  integer,
  optionalAddress,
  readSettings,
  SettingsError,
  text,
  toggle,
} from "../../../../proto/runtime/settings.ts";

const table = {
  dataDir: text("where data lies", "./data"),
  listen: address("where to listen", "127.0.0.1:8081"),
  controlPlane: optionalAddress("control plane", "127.0.0.1:18000"),
  flush: choice("when to sync", "sync", ["sync", "async"]),
  limit: integer("how many", 10, 1, 100),
  wait: durationMs("how long", "2s"),
  size: bytes("how large", "64MiB"),
  supervised: toggle("under a supervisor", false),
};

describe("settings of a process", () => {
  it("take their defaults, complete and frozen", () => {
    const settings = readSettings("broker", table, { argv: [], environment: {} });
    assert.deepEqual(settings, {
      dataDir: "./data",
      listen: { host: "127.0.0.1", port: 8081 },
      controlPlane: { host: "127.0.0.1", port: 18000 },
      flush: "sync",
      limit: 10,
      wait: 2000,
      size: 64 * 1024 * 1024,
      supervised: false,
    });
    assert.ok(Object.isFrozen(settings));
  });

  it("prefer a flag to a variable, a variable to the file, the file to the default", () => {
    const directory = mkdtempSync(join(tmpdir(), "popmesh-settings-"));
    try {
      const file = join(directory, "broker.json");
      writeFileSync(file, JSON.stringify({ dataDir: "from-file", limit: 3, wait: "3s" }));
      const settings = readSettings("broker", table, {
        argv: ["--data-dir", "from-flag", "--config", file],
        environment: { POPMESH_BROKER_DATA_DIR: "from-variable", POPMESH_BROKER_LIMIT: "2" },
      });
      assert.deepEqual([settings.dataDir, settings.limit, settings.wait], ["from-flag", 2, 3000]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("name every mistake at once, and where it was made", () => {
    const read = () =>
      readSettings("broker", table, {
        argv: ["--listen", "nowhere", "--limt", "3", "stray"],
        environment: { POPMESH_BROKER_LIMIT: "1000" },
      });
    assert.throws(read, (error: unknown) => {
      assert.ok(error instanceof SettingsError);
      assert.equal(error.mistakes.length, 4);
      assert.match(error.message, /--listen: "nowhere" is not an address/);
      assert.match(error.message, /--limt is unknown/);
      assert.match(error.message, /POPMESH_BROKER_LIMIT: "1000" is not a whole number from 1 to 100/);
      return true;
    });
  });

  it('read an empty optional address as "none", and IPv6 addresses in brackets', () => {
    const settings = readSettings("broker", table, {
      argv: ["--control-plane", "", "--listen", "[::1]:9"],
      environment: {},
    });
    assert.equal(settings.controlPlane, undefined);
    assert.deepEqual(settings.listen, { host: "::1", port: 9 });
  });

  it("describe themselves with flag, default and variable", () => {
    const help = describeSettings("broker", table);
    for (const name of ["--data-dir", "--control-plane", "--supervised"]) assert.ok(help.includes(name), name);
    assert.ok(help.includes("POPMESH_BROKER_DATA_DIR"));
  });
});
