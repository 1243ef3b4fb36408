/** The release of popmesh that this is; the same as in package.json (a test compares them). */
export const release = "0.1.0";
