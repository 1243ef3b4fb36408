import type { Log } from "../../proto/runtime/log.ts";
import type { MetricRegistry } from "../../proto/runtime/metric.ts";
import type { Storage } from "../storage/storage.ts";
import { logDirectory, type Segment } from "./segment.ts";

/** Files kept for the next segments: one is used per roll and one is freed, so a second covers the moment in between. */
const sparesMax = 2;
const spareName = /^\d{20}\.spare$/;

/**
 * Files of removed segments, kept to become the next ones. Their blocks exist on disk, so a segment made of one needs no
 * zeros: the log then writes each byte once instead of twice. What they still hold belongs to another epoch and other
 * positions, and no reader takes it for part of the log (log-frame.ts).
 */
export class SegmentPool {
  readonly #storage: Storage;
  readonly #log: Log;
  readonly #fileBytes: number;
  #spares: string[] = [];
  /** Out of the log, and their names not gone yet: a reader has one, or the disk refused. */
  #leaving: Segment[] = [];
  #work: Promise<void> = Promise.resolve();

  /** `fileBytes`: what a segment file has; others are of no use. */
  constructor(storage: Storage, log: Log, metrics: MetricRegistry, fileBytes: number) {
    this.#storage = storage;
    this.#log = log;
    this.#fileBytes = fileBytes;
    metrics.gaugeOf(
      "popmesh_broker_log_spare_segments",
      "Files of removed segments that wait to be used again.",
      () => this.#spares.length,
    );
  }

  /** Takes in what an earlier process left. */
  async open(): Promise<void> {
    let removed = 0;
    for (const name of this.#storage.list(logDirectory)) {
      if (!spareName.test(name)) continue;
      const path = `${logDirectory}/${name}`;
      if (this.#spares.length < sparesMax && this.#sizeOf(path) === this.#fileBytes) this.#spares.push(path);
      else {
        this.#storage.unlink(path);
        removed++;
      }
    }
    if (removed > 0) await this.#storage.syncDirectory(logDirectory);
  }

  get count(): number {
    return this.#spares.length;
  }

  /** Bytes of disk that `drop` would give back. */
  get bytes(): number {
    return this.#spares.length * this.#fileBytes;
  }

  /** A file to make a segment of `fileBytes` from; undefined when there is none. */
  take(fileBytes: number): string | undefined {
    return fileBytes === this.#fileBytes ? this.#spares.pop() : undefined;
  }

  /** A file that was taken and not used. */
  giveBack(path: string): void {
    this.#spares.push(path);
  }

  /**
   * Ends the names of segments that are no part of the log any more, once nobody reads them. A file changes hands only when
   * the directory is synced: a power cut may bring its old name back, and then its old contents must be under it. What the
   * disk refuses is tried again with the next call; a start removes it as well. Never rejects.
   */
  retire(segments: readonly Segment[], keepsSpares: boolean): Promise<void> {
    this.#leaving.push(...segments);
    this.#work = this.#work.then(() => this.#retire(keepsSpares));
    return this.#work;
  }

  /** Gives the disk back what is kept for later. Never rejects. */
  drop(): Promise<void> {
    this.#work = this.#work.then(async () => {
      const paths = this.#spares.splice(0);
      try {
        for (const path of paths) this.#storage.unlink(path);
        if (paths.length > 0) await this.#storage.syncDirectory(logDirectory);
      } catch (error) {
        this.#log.warn({ err: error }, "files kept for later segments could not be removed; the next start does");
      }
    });
    return this.#work;
  }

  async #retire(keepsSpares: boolean): Promise<void> {
    const spares: string[] = [];
    let changed = 0;
    for (const segment of this.#leaving.splice(0)) {
      await segment.whenUnread();
      try {
        const isWhole = segment.file.sizeBytes() === this.#fileBytes;
        segment.close();
        if (keepsSpares && isWhole && this.#spares.length + spares.length < sparesMax) {
          const spare = segment.path.replace(/log$/, "spare");
          this.#storage.rename(segment.path, spare);
          spares.push(spare);
        } else {
          this.#storage.unlink(segment.path);
        }
        changed++;
      } catch (error) {
        this.#log.warn({ err: error, path: segment.path }, "a removed segment's file stays for now");
        this.#leaving.push(segment);
      }
    }
    if (changed === 0) return;
    try {
      await this.#storage.syncDirectory(logDirectory);
    } catch (error) {
      this.#log.warn(
        { err: error },
        "the removal of segments may not outlive a power cut; the next start removes them",
      );
      return;
    }
    this.#spares.push(...spares);
  }

  #sizeOf(path: string): number {
    const file = this.#storage.open(path, { create: false });
    const bytes = file.sizeBytes();
    file.close();
    return bytes;
  }
}
