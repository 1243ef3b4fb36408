import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { ForeignXdsClient, runForeignXdsClient } from "../support/foreign-xds-client.ts";
import { compiledRoot, repositoryRoot } from "../support/running-process.ts";

/** Debian's, whose package is installed by .ci/run; another Python on the path has other packages. */
const python = "/usr/bin/python3";
const caller = join(repositoryRoot, "test/support/grpc-core-caller.py");

describe("@grpc/grpc-js-xds", function () {
  this.timeout(180_000);

  it("finds a broker group by our control plane, follows it to other addresses, and notices that it is gone", () =>
    runForeignXdsClient("grpc-js-xds", (target, xdsPort) => {
      const file = join(compiledRoot, "test/support/grpc-js-xds-caller.js");
      return new ForeignXdsClient(process.execPath, [file, target], xdsPort, "grpc-js-xds");
    }));
});

describe("gRPC C-core", function () {
  this.timeout(180_000);
  const launch = (target: string, xdsPort: number, node: string, callSecondsMax: number) =>
    new ForeignXdsClient(python, [caller, target, String(callSecondsMax)], xdsPort, node);

  before(() => {
    const { status, stdout, stderr } = spawnSync(python, ["-c", "import grpc; print(grpc.__version__)"], {
      encoding: "utf8",
    });
    assert.equal(status, 0, `${python} with grpc is needed: apt-get install python3-grpcio (${stderr})`);
    process.stdout.write(`        python3-grpcio ${stdout.trim()}\n`);
  });

  it("finds a broker group by our control plane, follows it to other addresses, and notices that it is gone", () =>
    runForeignXdsClient(
      "grpc-core",
      (target, xdsPort) => launch(target, xdsPort, "grpc-core", 5),
      async (xdsPort) => {
        // State of the world cannot say "does not exist"; the client concludes it after 15 s.
        const stranger = launch("xds:///nobody", xdsPort, "grpc-core-stranger", 40);
        try {
          const { code, details } = await stranger.greet();
          assert.match(`${code} ${details}`, /^14 .*(does not exist|[Nn]o such|not found)/);
        } finally {
          await stranger.stop();
        }
      },
    ));
});
