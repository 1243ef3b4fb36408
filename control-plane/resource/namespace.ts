/** What may be created on first use in a namespace. */
export interface NamespaceSpec {
  readonly autoCreateTopics: boolean;
  readonly autoCreateGroups: boolean;
}

/** A namespace as the control plane keeps it. It comes into being with the first resource in it. */
export interface NamespaceRecord extends NamespaceSpec {
  readonly name: string;
  readonly generation: number;
}
