import assert from "node:assert/strict";
import { readSidecarConfig, sidecarHelp } from "../../../sidecar/index.ts";

describe("settings of the sidecar", () => {
  it("has the documented defaults", () => {
    const config = readSidecarConfig([], {});
    assert.deepEqual(config.listen, { host: "127.0.0.1", port: 8081 });
    assert.deepEqual(config.admin, { host: "127.0.0.1", port: 15000 });
    assert.deepEqual(config.controlPlane, { host: "127.0.0.1", port: 18000 });
    assert.deepEqual(
      [config.dataDir, config.lane, config.namespace, config.tls],
      ["./.popmesh/sidecar", "base", "", "auto"],
    );
  });

  it("reads flags before the environment", () => {
    const environment = { POPMESH_SIDECAR_LANE: "canary", POPMESH_SIDECAR_NAMESPACE: "team" };
    const config = readSidecarConfig(["--lane", "blue"], environment);
    assert.deepEqual([config.lane, config.namespace], ["blue", "team"]);
  });

  it("takes the lane from a label of the workload where nothing else names one", () => {
    const labels = "app=billing, popmesh.io/lane=canary";
    assert.equal(readSidecarConfig(["--labels", labels], {}).lane, "canary");
    assert.equal(readSidecarConfig([], { POPMESH_LABELS: labels }).lane, "canary");
    assert.equal(readSidecarConfig(["--lane", "blue"], { POPMESH_LABELS: labels }).lane, "blue");
    assert.equal(readSidecarConfig([], { POPMESH_LANE: "green", POPMESH_LABELS: labels }).lane, "green");
    assert.equal(readSidecarConfig([], { POPMESH_LABELS: "app=billing,track=" }).lane, "base");
  });

  it("takes the lane of the workload from POPMESH_LANE, unless it is told its own", () => {
    assert.equal(readSidecarConfig([], { POPMESH_LANE: "canary" }).lane, "canary");
    assert.equal(readSidecarConfig([], { POPMESH_LANE: "canary", POPMESH_SIDECAR_LANE: "blue" }).lane, "blue");
    assert.equal(readSidecarConfig(["--lane", "green"], { POPMESH_LANE: "canary" }).lane, "green");
  });

  it("names every mistake and where it was made", () => {
    for (const [argv, pattern] of [
      [["--lane", "Not A Lane"], /--lane: "Not A Lane" is no lane: its name/],
      [["--labels", "popmesh.io/lane=Not A Lane"], /--labels: popmesh.io\/lane "Not A Lane" is no lane: its name/],
      [["--labels", "app=billing,canary"], /--labels: "canary" is no label; write name=value/],
      [["--labels", "app=a,app=b"], /--labels: label app is there twice/],
      [["--namespace", "a/b"], /--namespace: namespace "a\/b" has a character other than/],
      [["--namespace", "red,b c"], /--namespace: namespace "b c" has a character other than/],
      [["--tls-key", "k.pem"], /--tls-certificate and --tls-key belong together/],
      [["--drain-serve", "30s"], /--drain-serve is longer than --drain-total/],
      [["--listen", "nowhere"], /--listen: "nowhere" is not an address/],
    ] as [string[], RegExp][]) {
      assert.throws(() => readSidecarConfig(argv, {}), pattern);
    }
  });

  it("describes every setting", () => {
    for (const flag of ["--listen", "--control-plane", "--memory-max", "--drain-serve"]) {
      assert.ok(sidecarHelp().includes(flag));
    }
  });
});
