import type { GroupRecord } from "../record/group-record.ts";

export interface ConsumerGroup {
  readonly id: number;
  /** "<namespace>/<group>". */
  name: string;
  /** What stands before the slash. */
  namespace: string;
  policy: GroupRecord;
  /** Position of the record that opened or last changed it. */
  openedPosition: number;
}

/** Consumer groups by id and by name. */
export class GroupTable {
  readonly #byId: (ConsumerGroup | undefined)[] = [];
  readonly #byName = new Map<string, ConsumerGroup>();
  nextId = 1;
  #unnamedCount = 0;

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

  /** One whose name is lost. */
  unnamed(): ConsumerGroup | undefined {
    if (this.#unnamedCount === 0) return undefined;
    for (const group of this.all()) if (isUnnamed(group)) return group;
    return undefined;
  }

  put(policy: GroupRecord, openedPosition: number): ConsumerGroup {
    const known = this.#byId[policy.groupId];
    if (known !== undefined) {
      if (known.name !== policy.name) this.#rename(known, policy.name);
      known.policy = policy;
      known.openedPosition = openedPosition;
      return known;
    }
    const { groupId: id, name } = policy;
    const group: ConsumerGroup = { id, name, namespace: namespaceOf(name), policy, openedPosition };
    this.#byId[group.id] = group;
    this.#byName.set(group.name, group);
    if (isUnnamed(group)) this.#unnamedCount++;
    this.nextId = Math.max(this.nextId, group.id + 1);
    return group;
  }

  /** Its number is never used again. */
  remove(group: ConsumerGroup): void {
    if (isUnnamed(group)) this.#unnamedCount--;
    this.#byName.delete(group.name);
    this.#byId[group.id] = undefined;
  }

  /** A group gets the name back that was lost. */
  #rename(group: ConsumerGroup, name: string): void {
    this.#byName.delete(group.name);
    if (isUnnamed(group)) this.#unnamedCount--;
    group.name = name;
    group.namespace = namespaceOf(name);
    this.#byName.set(name, group);
  }
}

function namespaceOf(name: string): string {
  return name.slice(0, name.indexOf("/"));
}

const unnamedPrefix = "?/";

/** Stands for the name of a group whose name is lost (dispatch/damage-repair.ts); nobody can choose it. */
export function unnamedGroup(id: number): string {
  return `${unnamedPrefix}${id}`;
}

export function isUnnamed(group: ConsumerGroup): boolean {
  return group.name.startsWith(unnamedPrefix);
}

/** The group whose dead letters those of this one are: instances of a broadcast group have one queue together. */
export function deadLetterGroup({ name, policy }: ConsumerGroup): string {
  return policy.broadcast?.group ?? name;
}
