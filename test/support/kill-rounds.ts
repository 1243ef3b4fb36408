import assert from "node:assert/strict";
import { request } from "undici";
import { SdkLoad, type SdkLoadReport } from "./sdk-load.ts";
import { childPid, type Mesh } from "./start-mesh.ts";
import { waitUntil } from "./wait-until.ts";

export type MeshPart = "control-plane" | "broker-core" | "sidecar";

/** What a run of kills did, for the table that is printed. */
export interface KillReport extends SdkLoadReport {
  readonly rounds: number;
  /** Time from the kill until the part answers ready again, milliseconds. */
  readonly readyAfterMs: readonly number[];
}

/**
 * Kills one part with SIGKILL `rounds` times while the official SDK sends and consumes, then lets everything drain. Between
 * two kills at least `progress` sends must have been acknowledged, so that a run that did nothing cannot pass.
 */
export async function killUnderLoad(mesh: Mesh, part: MeshPart, rounds: number, progress: number): Promise<KillReport> {
  const load = new SdkLoad(mesh.endpoint, `kill-${part}`, `kill-${part}`);
  await load.start();
  const readyAfterMs: number[] = [];
  try {
    for (let round = 0; round < rounds; round++) {
      const target = load.sentCount + progress;
      await waitUntil(`${progress} more sends before kill ${round + 1}`, () => load.sentCount >= target, 30_000);
      const pid = await childPid(mesh, part);
      const killedMs = performance.now();
      process.kill(pid, "SIGKILL");
      await waitUntil(
        `${part} is ready again`,
        async () => (await newPid(mesh, part, pid)) && (await isReady(mesh, part)),
        30_000,
      );
      readyAfterMs.push(performance.now() - killedMs);
    }
    const target = load.sentCount + progress;
    await waitUntil("sends after the last kill", () => load.sentCount >= target, 30_000);
    load.stopSending();
    await waitUntil("everything acknowledged is consumed", () => load.isDrained, 60_000);
  } catch (error) {
    const { lost, acked, sent } = await load.stop();
    throw new Error(
      `${error instanceof Error ? error.message : error}; sent ${sent}, acked ${acked}, never received: ${lost}`,
    );
  }
  return { ...(await load.stop()), rounds, readyAfterMs };
}

/** No acknowledged send lost, nothing acked handed out again, nothing invented. */
export function assertNothingLost(report: KillReport): void {
  assert.deepEqual(report.lost, []);
  assert.deepEqual(report.redeliveredAfterAck, []);
  assert.deepEqual(report.phantoms, []);
  assert.equal(report.acked >= report.sent, true);
}

export function killTable(part: MeshPart, report: KillReport): string {
  const worst = Math.round(Math.max(...report.readyAfterMs));
  return (
    `${part}: ${report.rounds} kills, ${report.sent} sends acknowledged (${report.sendErrors} refused), ${report.acked} acked, ` +
    `lost ${report.lost.length}, acked and redelivered ${report.redeliveredAfterAck.length}, duplicates ${report.duplicates}, ` +
    `ready again after at most ${worst} ms`
  );
}

async function newPid(mesh: Mesh, part: MeshPart, old: number): Promise<boolean> {
  return (await childPid(mesh, part).catch(() => old)) !== old;
}

async function isReady(mesh: Mesh, part: MeshPart): Promise<boolean> {
  const address = { sidecar: mesh.sidecarAdmin, "broker-core": mesh.brokerAdmin, "control-plane": mesh.api }[part];
  try {
    const answer = await request(`http://${address}/ready`);
    await answer.body.dump();
    return answer.statusCode === 200;
  } catch {
    return false;
  }
}
