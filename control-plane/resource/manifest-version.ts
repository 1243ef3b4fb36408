/** `apiVersion` of every manifest. A file of its own: commands that only write manifests start without loading their validation. */
export const manifestApiVersion = "popmesh.io/v1";
