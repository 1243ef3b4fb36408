/** One change of a resource, kept after it: what `popmesh history` tells and `popmesh rollback` goes back to. */
export interface ResourceVersion<Spec> {
  /** That the resource had from then on; of a deletion the one that it went with. */
  readonly generation: number;
  /** Generation of the version before; 0: there is none, or it is not kept any more. */
  readonly previous: number;
  /** Wall clock. */
  readonly atMs: number;
  readonly by: string;
  readonly action: "created" | "configured" | "deleted" | "rolled back";
  /** Of a rollback: the generation whose content it is. */
  readonly contentOf?: number;
  /** Why it was rolled back, when nobody asked for it. */
  readonly reason?: string;
  /** Undefined: deleted. */
  readonly spec?: Spec;
}

/** Versions kept of each resource. */
export const versionsMax = 100;

/** Key of a version among all versions of its kind. */
export function versionKey(resourceKey: string, generation: number): string {
  return `${resourceKey}@${generation}`;
}
