import { access, mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";

/** Is there while this sidecar's lane is off. */
const fileName = "lanes-off";

/**
 * The kill switch of one sidecar: off, its clients receive as those of the base lane. Messages are marked as ever: a mark costs nothing, and
 * what was sent meanwhile must find its lane when lanes come back. Outlives the process.
 */
export class LaneSwitch {
  readonly #directory: string;
  #isOff: boolean;

  private constructor(directory: string, isOff: boolean) {
    this.#directory = directory;
    this.#isOff = isOff;
  }

  static async open(directory: string): Promise<LaneSwitch> {
    const isOff = await access(join(directory, fileName)).then(
      () => true,
      () => false,
    );
    return new LaneSwitch(directory, isOff);
  }

  get isOff(): boolean {
    return this.#isOff;
  }

  /** In force at once; resolves when it outlives the process. Rejects with the system's error when that cannot be. */
  async turn(isOff: boolean): Promise<void> {
    this.#isOff = isOff;
    const path = join(this.#directory, fileName);
    if (!isOff) return rm(path, { force: true });
    await mkdir(this.#directory, { recursive: true });
    const file = await open(path, "w");
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }
}
