import type { Clock } from "../../proto/runtime/clock.ts";
import { ExitCode } from "../../proto/runtime/process-lifecycle.ts";
import { namingRelease } from "../directory-release.ts";
import type { Storage } from "../storage/storage.ts";
import { checkDirectory } from "./check-directory.ts";

/** Something is lost or damaged. Not one of the codes of a broker that runs. */
const problemsFound = 1;

/**
 * `popmesh broker check`: the verdict in words, and the exit code: 0 sound, 1 not. Takes the directory's lock for as long as it
 * looks. Throws as `checkDirectory`, and `StorageError` ("locked") while a broker runs on it.
 */
export async function checkCommand(
  disk: Storage,
  clock: Clock,
  directory: string,
): Promise<{ readonly text: string; readonly exitCode: number }> {
  disk.lock();
  try {
    const { problems, facts } = await checkDirectory(disk, clock);
    const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    const lines = [
      `${directory}: ${problems.length === 0 ? "sound" : count}`,
      ...facts.map((fact) => `  ${fact}`),
      ...problems.map((problem) => `  PROBLEM: ${problem}`),
    ];
    return { text: `${lines.join("\n")}\n`, exitCode: problems.length === 0 ? ExitCode.Ok : problemsFound };
  } catch (error) {
    throw namingRelease(disk, error);
  } finally {
    disk.unlock();
  }
}
