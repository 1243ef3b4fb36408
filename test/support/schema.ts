import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import protobuf from "protobufjs";
import { repositoryRoot } from "./running-process.ts";

/** Our own .proto files. */
export const protoFolder = join(repositoryRoot, "proto");
/** The package that the application installs: it ships its .proto files and its generated stubs. */
export const officialPackage = dirname(createRequire(import.meta.url).resolve("rocketmq-client-nodejs/package.json"));

/** All .proto files below `folder/below`, by reflection; field names as codecs have them, or as they are declared. */
export function loadSchema(
  folder: string,
  below: string,
  names: "camelCase" | "declared" = "camelCase",
): protobuf.Root {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) =>
    target in protobuf.common || target.startsWith("/") ? target : join(folder, target);
  const files = readdirSync(join(folder, below), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".proto"))
    .sort()
    .map((name) => join(folder, below, name));
  root.loadSync(files, { keepCase: names === "declared" }).resolveAll();
  return root;
}

/** Every message type of a package, nested ones included. */
export function messageTypes(root: protobuf.Root, packageName: string): protobuf.Type[] {
  const types: protobuf.Type[] = [];
  const visit = (namespace: protobuf.NamespaceBase): void => {
    for (const member of namespace.nestedArray) {
      if (member instanceof protobuf.Type) types.push(member);
      if (member instanceof protobuf.Namespace) visit(member);
    }
  };
  visit(root.lookup(packageName) as protobuf.Namespace);
  return types;
}

/** "optional", "repeated", "map<string>", "oneof strategy" or "" as the field was declared. */
export function labelOf(field: protobuf.Field): string {
  if (field instanceof protobuf.MapField) return `map<${field.keyType}>`;
  if (field.repeated) return "repeated";
  if (field.partOf === null) return "";
  return field.partOf.isProto3Optional ? "optional" : `oneof ${field.partOf.name}`;
}

/** Whether "absent" and the default value are told apart. */
export function hasPresence(field: protobuf.Field): boolean {
  if (field.repeated || field.map) return false;
  return field.resolvedType instanceof protobuf.Type || field.partOf !== null;
}
