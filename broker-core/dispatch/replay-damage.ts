import { Doubts } from "./doubts.ts";

/** Messages of one queue that are lost: `count` of them from `firstOffset` on. */
export interface LostMessages {
  readonly topic: string;
  readonly queueId: number;
  readonly firstOffset: number;
  readonly count: number;
}

/** What a replay made of the lost parts of the log. */
export interface DamageConsequences {
  /** Offsets whose messages are lost: they are counted over, and nobody gets them. In the order in which they were noticed. */
  readonly messages: readonly LostMessages[];
  /** What else followed, in words, with how often. */
  readonly notes: Readonly<Record<string, number>>;
}

interface LostStretch {
  readonly topicId: number;
  readonly topic: string;
  readonly queueId: number;
  readonly firstOffset: number;
  count: number;
}

/** What the hand-outs since the last lost part say of it, and of those right before it of which none has said anything. */
type LostHandOuts =
  /** None has come yet. */
  | "unknown"
  /** The numbers of the leases go on without a gap: no hand-out was in it. */
  | "none"
  | "some";

/**
 * What the replay knows of the parts of the log that are lost (B10). As long as it is open, a record that does not go with the
 * state is a consequence of what is lost, and is made to go with it (`damage-repair.ts`); otherwise it is a bug or a foreign log.
 */
export class ReplayDamage {
  /** Something before the record at hand is lost, and whoever wrote that record did not know. */
  isOpen = false;
  /**
   * Groups with numbers below were there when the broker started on a damaged log: what they read may be lost, so they begin a topic
   * that they seem never to have read at its beginning. A hint of the run; what comes of it is a record.
   */
  groupsBelow = 0;
  readonly #ranges: { readonly from: number; readonly to: number }[] = [];
  #messages: LostStretch[] = [];
  readonly #notes = new Map<string, number>();
  /** By subscription and queue. */
  readonly doubts = new Doubts();
  #handOuts: LostHandOuts = "unknown";
  /** Parts that are lost, all in all. */
  #parts = 0;
  /** Of the parts before those that `#handOuts` is about: there were hand-outs in this one, and in none behind it. */
  #missingThrough = 0;

  lost(from: number, to: number): void {
    this.#ranges.push({ from, to });
    this.isOpen = true;
    // That nothing is missing of the next part says nothing of this one.
    if (this.#handOuts === "some") this.#missingThrough = this.#parts;
    this.#parts++;
    this.#handOuts = "unknown";
  }

  /** `nextGroupId`: above those of all groups. */
  close(nextGroupId: number): void {
    this.isOpen = false;
    this.groupsBelow = nextGroupId;
    this.#handOuts = "unknown";
    this.#missingThrough = 0;
    this.doubts.clear();
  }

  /** Whether what stood at a log position is lost. */
  covers(position: number): boolean {
    return this.#ranges.some(({ from, to }) => from <= position && position < to);
  }

  /**
   * Where something may have stood that is missing between log positions `after` and `before`: the index wants a position for it,
   * and positions in a queue never fall.
   */
  placeBetween(after: number, before: number): number {
    const { from = after } = this.#ranges.findLast((range) => range.from < before) ?? {};
    return Math.max(after, from);
  }

  /** A record has given out leases from `generation` on; `expected` is what came next by all that is known. */
  sawLeases(generation: number, expected: number): void {
    if (generation > expected) this.#handOuts = "some";
    else if (this.#handOuts === "unknown") this.#handOuts = "none";
  }

  /** A message that nobody was seen to be handed was handed out. */
  missedHandOut(): void {
    this.#handOuts = "some";
  }

  /**
   * Whether hand-outs may be missing between the group's position in this queue and what a record says of it now. True at most
   * once for each lost part. `ordered`: a hand-out without leases matters as well, and leaves no gap in their numbers.
   */
  isInDoubt(subscriptionSlot: number, queueId: number, ordered: boolean, laneNumber = 0): boolean {
    if (!this.isOpen) return false;
    // Lanes share the positions of a topic that keeps order.
    const lane = ordered ? 0 : laneNumber;
    const { followed } = this.doubts.of(subscriptionSlot, queueId);
    const followedThrough = followed.get(lane) ?? 0;
    if (followedThrough === this.#parts) return false;
    followed.set(lane, this.#parts);
    return ordered || this.#handOuts !== "none" || followedThrough < this.#missingThrough;
  }

  /** Also of `queueId` of a subscription whose position was just set. */
  follow(subscriptionSlot: number, queueId: number, laneNumber = 0): void {
    if (this.isOpen) this.doubts.of(subscriptionSlot, queueId).followed.set(laneNumber, this.#parts);
  }

  countLost(topicId: number, topic: string, queueId: number, offset: number): void {
    const last = this.#messages.findLast((stretch) => stretch.topicId === topicId && stretch.queueId === queueId);
    if (last !== undefined && last.firstOffset + last.count === offset) last.count++;
    else this.#messages.push({ topicId, topic, queueId, firstOffset: offset, count: 1 });
  }

  /** The topic is deleted, and what it had lost with it. */
  forgetTopic(topicId: number): void {
    if (this.#messages.length > 0) this.#messages = this.#messages.filter((stretch) => stretch.topicId !== topicId);
  }

  note(what: string): void {
    this.#notes.set(what, (this.#notes.get(what) ?? 0) + 1);
  }

  get consequences(): DamageConsequences {
    const messages = this.#messages.map(({ topicId: _, ...stretch }) => stretch);
    return { messages, notes: Object.fromEntries(this.#notes) };
  }
}
