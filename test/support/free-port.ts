import { createServer } from "node:net";
import { randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";

/**
 * Where ports are looked for: below those that systems give to outgoing connections (from 32 768 on Linux, from 49 152 elsewhere). A
 * port among those may be somebody's connection by the time a process that was told it comes to listen there. And above popmesh's own
 * (8081 to 18080), which a mesh beside the tests may have.
 */
const [portMin, portMax] = [20_000, 32_000];

/** By process, so that the processes of one run, which look at the same time, begin at different places. */
const randomness = new SeededRandomness(process.pid);
let next = portMin + randomIndex(randomness, portMax - portMin);

/** Ports that were free a moment ago, all different: for processes that must be told their ports beforehand. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  for (let tries = 0; ports.length < count; tries++) {
    if (tries > portMax - portMin) throw new Error(`no port from ${portMin} to ${portMax} is free`);
    const port = next;
    next = next + 1 < portMax ? next + 1 : portMin;
    if (await isFree(port)) ports.push(port);
  }
  return ports;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
