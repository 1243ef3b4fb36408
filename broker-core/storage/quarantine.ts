import type { Storage } from "./storage.ts";

export const quarantineDirectory = "quarantine";

/**
 * Moves a file that cannot be understood out of the way, for a person to look at; nothing that may hold data is ever deleted.
 * Returns where it went. Durable after both directories are synced.
 */
export function quarantine(storage: Storage, path: string): string {
  storage.makeDirectory(quarantineDirectory);
  const name = path.slice(path.lastIndexOf("/") + 1);
  let target = `${quarantineDirectory}/${name}`;
  for (let copy = 1; storage.exists(target); copy++) target = `${quarantineDirectory}/${name}.${copy}`;
  storage.rename(path, target);
  return target;
}
