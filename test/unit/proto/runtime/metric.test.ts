import assert from "node:assert/strict";
import { MetricRegistry } from "../../../../proto/runtime/metric.ts";

describe("metrics", () => {
  it("are rendered in the Prometheus text format, sorted, with help and type", () => {
    const registry = new MetricRegistry();
    registry.counter("popmesh_b_total", "Second.", { topic: 'a"b\n' }).add(2);
    registry.gaugeOf("popmesh_a", "First.", () => 7);
    assert.equal(
      registry.prometheusText(),
      [
        "# HELP popmesh_a First.",
        "# TYPE popmesh_a gauge",
        "popmesh_a 7",
        "# HELP popmesh_b_total Second.",
        "# TYPE popmesh_b_total counter",
        'popmesh_b_total{topic="a\\"b\\n"} 2',
        "",
      ].join("\n"),
    );
  });

  it("count an observation in its own bucket and all above", () => {
    const registry = new MetricRegistry();
    const histogram = registry.histogram("h", "Help.", {}, [1, 2]);
    for (const value of [1, 1.5, 9]) histogram.observe(value);
    const lines = registry.prometheusText().split("\n").slice(2);
    assert.deepEqual(lines.slice(0, 5), [
      'h_bucket{le="1"} 1',
      'h_bucket{le="2"} 2',
      'h_bucket{le="+Inf"} 3',
      "h_sum 11.5",
      "h_count 3",
    ]);
  });

  it("fold label values beyond the limit into one series, so that names from outside cannot fill memory", () => {
    const registry = new MetricRegistry();
    for (let i = 0; i < 1_500; i++) registry.counter("c", "Help.", { topic: `t${i}` }).add();
    const lines = registry.prometheusText().trim().split("\n");
    assert.equal(lines.length, 2 + 1_001);
    assert.ok(lines.includes('c{topic="other"} 500'));
  });
});
