// All an application knows of the mesh: the address of the sidecar on its own machine.
export const sidecar = {
  endpoints: process.env.POPMESH_ENDPOINT ?? "127.0.0.1:8081",
  namespace: "",
  sslEnabled: process.env.POPMESH_TLS === "on",
};

// The SDK's own logger writes into the home directory; this one shows what matters.
export const logger = { info() {}, debug() {}, warn() {}, error: console.error };
