import type { GroupRecord } from "../record/group-record.ts";

export interface ConsumerGroup {
  readonly id: number;
  /** "<namespace>/<group>". */
  readonly name: string;
  /** What stands before the slash. */
  readonly namespace: string;
  policy: GroupRecord;
  /** Position of the record that opened or last changed it. */
  openedPosition: number;
}

/** Consumer groups by id and by name. */
export class GroupTable {
  readonly #byId: (ConsumerGroup | undefined)[] = [];
  readonly #byName = new Map<string, ConsumerGroup>();
  nextId = 1;

  byId(id: number): ConsumerGroup | undefined {
    return this.#byId[id];
  }

  byName(name: string): ConsumerGroup | undefined {
    return this.#byName.get(name);
  }

  /** In the order of their ids. */
  *all(): Generator<ConsumerGroup> {
    for (const group of this.#byId) {
      if (group !== undefined) yield group;
    }
  }

  put(policy: GroupRecord, openedPosition: number): ConsumerGroup {
    const known = this.#byId[policy.groupId];
    if (known !== undefined) {
      known.policy = policy;
      known.openedPosition = openedPosition;
      return known;
    }
    const { groupId: id, name } = policy;
    const group: ConsumerGroup = { id, name, namespace: name.slice(0, name.indexOf("/")), policy, openedPosition };
    this.#byId[group.id] = group;
    this.#byName.set(group.name, group);
    this.nextId = Math.max(this.nextId, group.id + 1);
    return group;
  }
}
