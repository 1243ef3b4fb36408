import assert from "node:assert/strict";
import { RecordType } from "../../broker-core/commit-log/log.ts";
import type { Unconsumed } from "../../broker-core/dispatch/log-trimming.ts";
import { readDeadLetterRecord } from "../../broker-core/record/dead-letter-record.ts";
import { TrimReason } from "../../broker-core/record/log-trimmed-record.ts";
import type { ModelGroup, ModelMessage } from "./broker-model.ts";
import type { RunParts } from "./broker-run-parts.ts";

interface Image {
  readonly bytes: Buffer;
  readonly position: number;
}

/** Snapshots, and a log whose beginning goes, beside the model. */
export class ModelImages {
  readonly #run: RunParts;
  #image: Image | undefined;
  #base: Image | undefined;
  #trimmed: (Image & { readonly recordPosition: number }) | undefined;
  /** By group: dead letters that lay in segments that are removed. */
  readonly #deadGone = new Map<string, number>();

  constructor(run: RunParts) {
    this.#run = run;
  }

  /** The last snapshot that is still worth something. */
  get bytes(): Buffer | undefined {
    return this.#image?.bytes;
  }

  snapshot(): void {
    this.#image = { bytes: this.#run.real.state.snapshot(), position: this.#run.real.state.appliedPosition };
  }

  baseImage(): void {
    const position = this.#run.real.state.appliedPosition;
    this.#base = { bytes: this.#run.real.state.baseImage(position), position };
  }

  /** The log begins where the base image stands, if that is on disk; records since then may speak of what is gone. */
  trim(): void {
    const { real } = this.#run;
    const base: Image | undefined = this.#base;
    const model = this.#run.model.state;
    if (base === undefined || base.position > real.log.durablePosition || base.position <= model.logBegin) return;
    const isGone = ({ position }: ModelMessage): boolean => position < base.position;
    for (const group of model.groups) {
      const lost = this.#run.model.pending(group).filter(isGone).length;
      if (group.filter === "*") {
        const told: readonly Unconsumed[] = real.state
          .unconsumedBelow(base.position)
          .filter((entry) => entry.group === group.name);
        assert.equal(told[0]?.messages ?? 0, lost, `what ${group.name} loses`);
      }
      this.#run.counts.expired += lost;
      for (const { id } of model.messages.filter(isGone)) group.leases.delete(id);
      this.#run.model.promote(group);
      group.deadRemoved = this.#deadLettersBelow(group, base.position);
    }
    this.#run.carried();
    const recordPosition = real.state.trimLog(base.position, TrimReason.Age, real.now);
    this.#trimmed = { ...base, recordPosition };
    model.logBegin = base.position;
    this.#run.handOuts.serve();
    this.#run.check();
  }

  /** Once the record is on disk the segments may go; from then on a start needs the base image. */
  removeSegments(): void {
    const { real } = this.#run;
    const trimmed = this.#trimmed;
    if (trimmed === undefined || trimmed.recordPosition >= real.log.durablePosition) return;
    const counts = () =>
      this.#run.model.state.groups.map((group) => this.#deadLettersBelow(group, Number.POSITIVE_INFINITY));
    const before = counts();
    real.log.removeBelow(trimmed.position);
    const after = counts();
    for (const [i, { name }] of this.#run.model.state.groups.entries()) {
      this.#deadGone.set(name, (this.#deadGone.get(name) ?? 0) + before[i]! - after[i]!);
    }
    real.base = trimmed.bytes;
    if (this.#image !== undefined && this.#image.position < trimmed.position) this.#image = undefined;
    if (this.#base !== undefined && this.#base.position <= trimmed.position) this.#base = undefined;
    this.#trimmed = undefined;
  }

  /** A snapshot of records that were lost is worth nothing, also later when the log has grown over its position. */
  crashed(kept: number): void {
    if (this.#image !== undefined && this.#image.position > kept) this.#image = undefined;
    if (this.#base !== undefined && this.#base.position > kept) this.#base = undefined;
    if (this.#trimmed !== undefined && this.#trimmed.recordPosition >= kept) this.#trimmed = undefined;
  }

  #deadLettersBelow(group: ModelGroup, position: number): number {
    let count = this.#deadGone.get(group.name) ?? 0;
    for (const record of this.#run.real.log.records(this.#run.real.log.begin)) {
      if (record.type !== RecordType.DeadLetter || record.position >= position) continue;
      if (readDeadLetterRecord(record.body, 0, record.body.length).groupId === group.id) count++;
    }
    return count;
  }
}
