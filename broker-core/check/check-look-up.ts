import type { Segment } from "../commit-log/segment.ts";
import { indexPath, StretchIndex } from "../look-up/stretch-index.ts";
import type { Storage } from "../storage/storage.ts";

/**
 * Reads the indexes of look-ups whole. One whose header does not prove itself is made again by the broker; one whose entries
 * are damaged makes look-ups miss messages, and nothing else notices. `segments`: those of the log, in order.
 */
export function checkLookUp(
  storage: Storage,
  segments: readonly Segment[],
): { readonly problems: readonly string[]; readonly facts: readonly string[] } {
  const problems: string[] = [];
  let indexed = 0;
  // The last one is being written.
  const full = segments.slice(0, -1);
  for (const { base, end, epoch } of full) {
    const stretch = { from: base, to: end, isSealed: true, nonce: epoch.nonce };
    const index = StretchIndex.open(storage, stretch);
    if (index === undefined) continue;
    indexed++;
    if (!index.isIntact()) {
      problems.push(
        `${indexPath(stretch)} is damaged: look-ups by id and key miss what it should name; remove the file while the ` +
          "broker is stopped, and it is made again. Nothing is lost",
      );
    }
    index.close();
  }
  const facts = full.length === 0 ? [] : [`look-up: ${indexed} of ${full.length} full files of the log have an index`];
  return { problems, facts };
}
