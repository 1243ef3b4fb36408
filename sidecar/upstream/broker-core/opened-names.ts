import type { GroupRef, TopicRef } from "../upstream.ts";

/** A topic or group on one connection: asked for once, everybody who needs it waits for the same answer. */
export interface Opening<Ref> {
  readonly ref: Ref;
  /** -1 until the broker has answered. */
  id: number;
  /** Correlation ids of the calls that wait for the id. */
  readonly waiting: number[];
}

/** The names of one connection. An id is good for one connection: the next one opens anew. */
export class OpenedNames<Ref extends { readonly name: string }> {
  readonly #openings = new Map<string, Opening<Ref>>();
  readonly #replaces: (ref: Ref, opened: Ref) => boolean;

  /** `replaces(ref, opened)`: whether what was opened no longer serves for `ref`. */
  constructor(replaces: (ref: Ref, opened: Ref) => boolean) {
    this.#replaces = replaces;
  }

  /** What was opened for `ref`; undefined: it must be opened first. */
  find(ref: Ref): Opening<Ref> | undefined {
    const opening = this.#openings.get(ref.name);
    return opening === undefined || (opening.ref !== ref && this.#replaces(ref, opening.ref)) ? undefined : opening;
  }

  /** Notes that `ref` is being opened. Those who wait for an older opening of the name wait for their own answer. */
  begin(ref: Ref): Opening<Ref> {
    const opening: Opening<Ref> = { ref, id: -1, waiting: [] };
    this.#openings.set(ref.name, opening);
    return opening;
  }

  /** The broker does not know it (any more). */
  forget(name: string): void {
    this.#openings.delete(name);
  }
}

/** A newer incarnation, or the same one with more queues or other types. What is older never replaces. */
export function topicReplaces(ref: TopicRef, opened: TopicRef): boolean {
  if (ref.incarnation !== opened.incarnation) return ref.incarnation > opened.incarnation;
  return ref.queueCount !== opened.queueCount || ref.messageTypes !== opened.messageTypes;
}

export function groupReplaces(ref: GroupRef, opened: GroupRef): boolean {
  return ref.generation > opened.generation;
}
