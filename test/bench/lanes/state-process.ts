import { laneRows } from "./lane-rows.ts";
import { StateLoad } from "./state-load.ts";

// A process of its own for each row: what V8 learns of one must not slow another down, as it does not in two brokers.
const [build = "", row = ""] = process.argv.slice(2);
const load = await StateLoad.start(build, laneRows[Number(row)]!);
process.on("message", (turns: number) => void process.send?.(load.run(turns)));
process.send?.("ready");
