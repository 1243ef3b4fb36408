/** The control plane's public door, for those who run one inside their own process. */
export { type ControlPlaneConfig, readControlPlaneConfig } from "./config.ts";
export { type ControlPlane, type ControlPlaneDeps, startControlPlane } from "./control-plane.ts";
