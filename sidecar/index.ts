/** The public door of the sidecar, for embedders and examples. */
export { readSidecarConfig, type SidecarConfig, sidecarHelp } from "./config.ts";
export { type Sidecar, type SidecarDeps, startSidecar } from "./sidecar.ts";
