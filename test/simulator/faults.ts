import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import type { Mesh } from "./mesh.ts";

/** Something that goes wrong. Returns for how long it does, at most. */
export interface Fault {
  readonly name: string;
  apply(mesh: Mesh, randomness: Randomness): number;
}

const day = 86_400_000;

/** After a power cut the machine needs a moment, and the other side may notice only by its pings. */
const powerCutMs = 21_000;
const restartMs = 1_500;

export const faults: readonly Fault[] = [
  {
    name: "kill the broker",
    apply({ node }) {
      node.kill();
      return restartMs;
    },
  },
  {
    name: "cut the power",
    apply({ node, history }, randomness) {
      const cut = (): void => {
        history.mark("power-cut");
        node.cutPower();
        // The clock of a machine that was off may be anything.
        if (randomness.fraction() < 0.3) node.machine.stepWall((randomness.fraction() - 0.5) * 2 * 3_600_000);
      };
      // The worst moment: what was answered too early is lost then.
      if (randomness.fraction() < 0.5) node.duringNextSync(cut);
      else cut();
      return powerCutMs;
    },
  },
  {
    name: "stop the broker cleanly",
    apply({ node }) {
      node.stopCleanly();
      return 6_000 + restartMs;
    },
  },
  {
    name: "pause the broker",
    apply({ node }, randomness) {
      const ms = randomness.fraction() < 0.1 ? 30_000 * randomness.fraction() : 1_000 * randomness.fraction();
      node.process?.stop(ms);
      return ms;
    },
  },
  {
    name: "kill a sidecar",
    apply({ sidecars }, randomness) {
      sidecars[randomIndex(randomness, sidecars.length)]!.kill();
      return restartMs;
    },
  },
  {
    name: "pause a sidecar",
    apply({ sidecars }, randomness) {
      const ms = randomness.fraction() < 0.1 ? 20_000 * randomness.fraction() : 1_000 * randomness.fraction();
      sidecars[randomIndex(randomness, sidecars.length)]!.process?.stop(ms);
      return ms;
    },
  },
  {
    name: "break connections",
    apply({ network }, randomness) {
      network.break(randomness.fraction() < 0.5 ? "one" : "all");
      return restartMs;
    },
  },
  {
    name: "slow the network",
    apply({ network, world }, randomness) {
      network.extraDelayMs = 5 + randomness.fraction() * 200;
      const ms = 200 + randomness.fraction() * 2_000;
      world.after(ms, undefined, () => {
        network.extraDelayMs = 0;
      });
      return ms + 200;
    },
  },
  {
    name: "stop the network",
    apply({ network, world }, randomness) {
      const ms = randomness.fraction() < 0.1 ? 20_000 * randomness.fraction() : 2_000 * randomness.fraction();
      network.stuckUntilMs = Math.max(network.stuckUntilMs, world.nowMs + ms);
      return ms + restartMs;
    },
  },
  {
    name: "step the wall clock",
    apply({ node }, randomness) {
      const spans = [5_000, 3_600_000, day, 3_650 * day];
      const span = spans[randomIndex(randomness, 4)]!;
      const share =
        randomness.fraction() < 0.3 ? Math.sign(randomness.fraction() - 0.5) : 2 * randomness.fraction() - 1;
      node.machine.stepWall(Math.floor(share * span));
      return 0;
    },
  },
  {
    name: "slow the disk",
    apply({ node, world }, randomness) {
      node.slowSyncMs = randomness.fraction() < 0.1 ? 12_000 : 5 + randomness.fraction() * 300;
      const ms = 200 + randomness.fraction() * 2_000;
      world.after(ms, undefined, () => {
        node.slowSyncMs = 0;
      });
      return ms + node.slowSyncMs;
    },
  },
  {
    name: "fail the disk",
    apply({ node, world, history }, randomness) {
      if (node.planDiskFault(20) === "open") history.mark("unreadable");
      const ms = 1_000 * randomness.fraction();
      world.after(ms, undefined, () => node.disk.heal());
      return ms + restartMs;
    },
  },
  {
    name: "fill the disk",
    apply({ node, world }, randomness) {
      const { disk } = node;
      disk.capacityBytes = disk.usedBytes + randomIndex(randomness, 200_000);
      const ms = 500 + 4_000 * randomness.fraction();
      world.after(ms, undefined, () => {
        disk.capacityBytes = Number.POSITIVE_INFINITY;
      });
      return ms + restartMs;
    },
  },
];

/** Draws which faults a run meets and lets them happen now and then until `stop`. */
export class FaultPlan {
  readonly #mesh: Mesh;
  readonly #randomness: Randomness;
  readonly #chosen: readonly Fault[];
  readonly #periodMs: number;
  #isStopped = false;

  /** `only`: names of those that are to happen, all of them; else some are drawn. `periodMs`: between two, on average. */
  constructor(mesh: Mesh, only?: readonly string[], periodMs?: number) {
    this.#mesh = mesh;
    this.#randomness = mesh.world.randomness();
    const among = only === undefined ? faults : faults.filter(({ name }) => only.includes(name));
    // A quarter of the runs without any: what goes wrong there goes wrong by itself.
    const share =
      this.#randomness.fraction() < 0.25 && only === undefined ? 0 : 0.2 + 0.8 * this.#randomness.fraction();
    this.#chosen = among.filter(() => this.#randomness.fraction() < share || only !== undefined);
    this.#periodMs = periodMs ?? [200, 600, 2_000][randomIndex(this.#randomness, 3)]!;
  }

  start(): void {
    if (this.#chosen.length > 0) this.#next();
  }

  stop(): void {
    this.#isStopped = true;
    this.#mesh.node.duringNextSync(undefined);
  }

  #next(): void {
    const { world, history, counts } = this.#mesh;
    world.after(this.#randomness.fraction() * 2 * this.#periodMs, undefined, () => {
      if (this.#isStopped) return;
      const fault = this.#chosen[randomIndex(this.#randomness, this.#chosen.length)]!;
      counts.faults[fault.name] = (counts.faults[fault.name] ?? 0) + 1;
      history.fault(fault.apply(this.#mesh, this.#randomness));
      this.#next();
    });
  }
}
