import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import protobuf from "protobufjs";
import { apache } from "#codec/rocketmq-v2";
import { Code, codeName } from "../../../proto/code.ts";
import { SeededRandomness } from "../../../proto/runtime/seeded-randomness.ts";
import { type Properties, randomMessage } from "../../support/random-message.ts";
import { hasPresence, labelOf, loadSchema, messageTypes, officialPackage, protoFolder } from "../../support/schema.ts";
import { withSeed } from "../../support/test-seed.ts";
import { newerMembers, newerMethods, newerTypes } from "./newer-than-official.ts";

const packageName = "apache.rocketmq.v2";
const messagesPerType = 100;

/** Fields that the official stubs do not know, as "Settings.clientProperties". */
const newerFields: ReadonlySet<string> = new Set(
  newerMembers.map((text) => (text.split(" ")[0] ?? "").replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())),
);

/** A generated google-protobuf message; its methods are named after the fields. */
type Stub = Record<string, (...args: unknown[]) => unknown>;
type StubClass = (new () => Stub) & { deserializeBinary(bytes: Uint8Array): Stub };
const requireOfficial = createRequire(join(officialPackage, "package.json"));
const stubModules: readonly Record<string, unknown>[] = [
  ...["definition", "service", "admin"].map((file) => join(officialPackage, `proto/apache/rocketmq/v2/${file}_pb.js`)),
  "google-protobuf/google/protobuf/timestamp_pb.js",
  "google-protobuf/google/protobuf/duration_pb.js",
].map((path) => requireOfficial(path) as Record<string, unknown>);

/** A class of our static codec. */
interface CodecClass {
  encode(properties: Properties): { finish(): Uint8Array };
  decode(bytes: Uint8Array): Properties;
}

describe("the schema of apache.rocketmq.v2", () => {
  const ours = elements(loadSchema(protoFolder, "apache", "declared"));
  const official = elements(loadSchema(join(officialPackage, "proto"), "apache", "declared"));

  it("has every element of the official package with the same number, type and label", () => {
    const different = [...official].filter(([name, text]) => ours.get(name) !== text);
    assert.deepEqual(
      different.map(([name, text]) => `official ${text}, ours ${ours.get(name) ?? "missing"}`),
      [],
    );
    assert.ok(official.size > 400, `only ${official.size} elements were compared`);
  });

  it("has beyond that exactly the newer elements that are listed", () => {
    const newer = [...ours].filter(([name]) => !official.has(name)).map(([, text]) => text);
    const listed = [
      ...newerMembers,
      ...newerMethods,
      ...Object.entries(newerTypes).flatMap(([type, members]) => [
        type,
        ...members.map((member) => `${type}.${member}`),
      ]),
    ];
    assert.deepEqual(newer.sort(), listed.sort());
  });

  it("gives every enum value the number that the official stubs have", () => {
    let compared = 0;
    for (const [name, text] of ours) {
      const [, enumName = "", valueName = "", number = ""] = /^([\w.]+)\.(\w+) = (-?\d+)$/.exec(text) ?? [];
      const values = officialMember(enumName) as Record<string, number> | undefined;
      if (values === undefined || newerMembers.includes(text)) continue;
      // Stubs write the names of values in capitals.
      assert.equal(values[valueName.toUpperCase()], Number(number), name);
      compared++;
    }
    assert.ok(compared > 100, `only ${compared} enum values were compared`);
  });

  it("gives codes the numbers that code.ts has", () => {
    const { CODE_UNSPECIFIED, ...codes } = loadSchema(protoFolder, "apache").lookupEnum(`${packageName}.Code`).values;
    assert.equal(CODE_UNSPECIFIED, 0);
    assert.deepEqual(Object.fromEntries(Object.values(Code).map((code) => [codeName(code), code])), codes);
  });
});

describe("the codec of apache.rocketmq.v2", () => {
  const root = loadSchema(protoFolder, "apache");
  const types = messageTypes(root, packageName);

  for (const type of types) {
    const stubClass = officialMember(nameWithin(type)) as StubClass | undefined;
    if (stubClass === undefined) {
      it(`agrees with the schema about ${nameWithin(type)}, which the official package does not have`, () => {
        assert.ok(newerTypes[nameWithin(type)], `${nameWithin(type)} is neither in the package nor listed as newer`);
        everyRandomMessage(type, undefined, (properties, seed) => {
          const codec = codecClass(type);
          const bytes = codec.encode(properties).finish();
          const again = type.encode(type.decode(bytes)).finish();
          assert.deepEqual(plain(type, codec.decode(again)), plain(type, properties), seed);
        });
      });
      continue;
    }

    it(`writes ${nameWithin(type)} so that the official stub reads the same`, () => {
      everyRandomMessage(type, newerFields, (properties, seed) => {
        const stub = stubClass.deserializeBinary(codecClass(type).encode(properties).finish());
        assert.deepEqual(plainStub(type, stub), plain(type, properties), seed);
      });
    });

    it(`reads ${nameWithin(type)} as the official stub wrote it`, () => {
      everyRandomMessage(type, newerFields, (properties, seed) => {
        const bytes = filledStub(type, properties)["serializeBinary"]?.() as Uint8Array;
        assert.deepEqual(plain(type, codecClass(type).decode(bytes)), plain(type, properties), seed);
      });
    });
  }

  it("keeps numbers exact up to 2^53, and what is larger at the nearest double", () => {
    const { SendResultEntry } = apache.rocketmq.v2;
    for (const offset of [2 ** 53 - 1, -(2 ** 53 - 1), 2 ** 62, -(2 ** 62)]) {
      assert.equal(SendResultEntry.decode(SendResultEntry.encode({ offset }).finish()).offset, offset);
    }
  });

  it("keeps a property called __proto__ as a property", () => {
    const { Message } = apache.rocketmq.v2;
    const bytes = Buffer.from("12130a095f5f70726f746f5f5f120661747461636b", "hex");
    const { userProperties } = Message.decode(bytes);
    assert.deepEqual(Object.entries(userProperties), [["__proto__", "attack"]]);
    assert.equal(Object.getPrototypeOf(userProperties), Object.prototype);
  });

  it("refuses text that is not UTF-8", () => {
    const { Resource } = apache.rocketmq.v2;
    for (const bad of ["c0af", "eda080", "ff", "e282", "f4908080"]) {
      const text = Buffer.from(bad, "hex");
      assert.throws(() => Resource.decode(Buffer.concat([Buffer.from([0x12, text.length]), text])), /not valid/, bad);
    }
  });

  function everyRandomMessage(
    type: protobuf.Type,
    without: ReadonlySet<string> | undefined,
    check: (properties: Properties, seed: string) => void,
  ): void {
    withSeed((seed) => {
      const randomness = new SeededRandomness(seed);
      for (let i = 0; i < messagesPerType; i++) {
        check(randomMessage(type, randomness, without === undefined ? {} : { without }), `message ${i}`);
      }
    });
  }
});

/** Every element of the package by name, with its number, label and type in words. */
function elements(root: protobuf.Root): Map<string, string> {
  const found = new Map<string, string>();
  const add = (name: string, rest = "") => found.set(name, name + rest);
  const visit = (namespace: protobuf.NamespaceBase): void => {
    for (const member of namespace.nestedArray) {
      const name = nameWithin(member);
      if (member instanceof protobuf.Enum) {
        add(name);
        for (const [value, number] of Object.entries(member.values)) add(`${name}.${value}`, ` = ${number}`);
      } else if (member instanceof protobuf.Service) {
        for (const method of member.methodsArray) add(`${name}.${method.name}`, `: ${signature(method)}`);
      } else if (member instanceof protobuf.Type) {
        add(name);
        for (const field of member.fieldsArray) add(`${name}.${field.name}`, ` = ${declaration(field)}`);
      }
      if (member instanceof protobuf.Namespace) visit(member);
    }
  };
  visit(root.lookup(packageName) as protobuf.Namespace);
  return found;
}

function declaration(field: protobuf.Field): string {
  const type = field.resolvedType === null ? field.type : nameWithin(field.resolvedType);
  return [String(field.id), labelOf(field), type].filter((part) => part !== "").join(" ");
}

function signature(method: protobuf.Method): string {
  const side = (stream: boolean | undefined, type: protobuf.Type | null) =>
    (stream === true ? "stream " : "") + (type === null ? "?" : nameWithin(type));
  const request = side(method.requestStream, method.resolvedRequestType);
  return `${request} -> ${side(method.responseStream, method.resolvedResponseType)}`;
}

/** The name without its package, for ours and for google.protobuf. */
function nameWithin(object: protobuf.ReflectionObject): string {
  return object.fullName.replace(/^\.(?:apache\.rocketmq\.v2|google\.protobuf)\./, "");
}

// ---- The official stubs ----

/** What the stubs export under a name, which may be nested ("OffsetOption.Policy"). */
function officialMember(name: string): unknown {
  for (const module of stubModules) {
    let member: unknown = module;
    for (const part of name.split(".")) member = (member as Record<string, unknown> | undefined)?.[part];
    if (member !== undefined) return member;
  }
  return undefined;
}

function method(field: protobuf.Field, verb: "get" | "set" | "has"): string {
  const suffix = field.map ? "Map" : field.repeated ? "List" : "";
  return `${verb}${field.name.charAt(0).toUpperCase()}${field.name.slice(1)}${suffix}`;
}

function call(stub: Stub, name: string, ...args: unknown[]): unknown {
  const function_ = stub[name];
  assert.ok(function_ !== undefined, `the official stub has no ${name}: is the field's name right?`);
  return function_.apply(stub, args);
}

function filledStub(type: protobuf.Type, properties: Properties): Stub {
  const stub = new (officialMember(nameWithin(type)) as StubClass)();
  for (const field of type.fieldsArray) {
    const value = properties[field.name];
    if (value === undefined) continue;
    const inner = field.resolvedType instanceof protobuf.Type ? field.resolvedType : undefined;
    const element = (from: unknown) => (inner === undefined ? from : filledStub(inner, from as Properties));
    if (field.map) {
      const map = call(stub, method(field, "get")) as Stub;
      for (const [key, entry] of Object.entries(value as Properties)) call(map, "set", key, element(entry));
    } else if (field.repeated) {
      call(stub, method(field, "set"), (value as unknown[]).map(element));
    } else {
      call(stub, method(field, "set"), element(value));
    }
  }
  return stub;
}

// ---- Both sides as plain values: field by field, absent or not, in one form ----

/** What our codec decoded, or what it was given to encode. */
function plain(type: protobuf.Type, properties: Properties): Properties {
  return plainFields(type, (field) => {
    const value = properties[field.name];
    if (value === null || value === undefined) return undefined;
    return field.map ? Object.entries(value as Properties) : value;
  });
}

function plainStub(type: protobuf.Type, stub: Stub): Properties {
  return plainFields(type, (field) => {
    if (newerFields.has(`${type.name}.${field.name}`)) return undefined;
    if (hasPresence(field) && call(stub, method(field, "has")) !== true) return undefined;
    if (field.type === "bytes") return call(stub, `${method(field, "get")}_asU8`);
    const value = call(stub, method(field, "get"));
    return field.map ? [...(call(value as Stub, "entries") as Iterable<unknown>)] : value;
  });
}

/** `read` gives a field's value, entries of a map, or undefined when it is not set. */
function plainFields(type: protobuf.Type, read: (field: protobuf.Field) => unknown): Properties {
  const result: Properties = {};
  for (const field of type.fieldsArray) {
    const value = read(field);
    const inner = field.resolvedType instanceof protobuf.Type ? field.resolvedType : undefined;
    const element = (from: unknown): unknown => {
      if (inner === undefined) return from instanceof Uint8Array ? Buffer.from(from).toString("hex") : from;
      return "serializeBinary" in (from as Stub) ? plainStub(inner, from as Stub) : plain(inner, from as Properties);
    };
    if (field.map) {
      const entries = ((value ?? []) as [string, unknown][]).map(([key, entry]) => [key, element(entry)] as const);
      result[field.name] = entries.sort(([a], [b]) => (a < b ? -1 : 1));
    } else if (field.repeated) {
      result[field.name] = ((value ?? []) as unknown[]).map(element);
    } else if (value === undefined) {
      result[field.name] = hasPresence(field) ? "absent" : element(defaultOf(field));
    } else {
      // -0 and 0 are the same on the wire.
      result[field.name] = value === 0 ? 0 : element(value);
    }
  }
  return result;
}

function defaultOf(field: protobuf.Field): unknown {
  if (field.type === "bytes") return new Uint8Array(0);
  return field.resolvedType instanceof protobuf.Enum ? 0 : field.typeDefault;
}

/** The class of our static codec for a type, nested ones included. */
function codecClass(type: protobuf.Type): CodecClass {
  let member: unknown = apache.rocketmq.v2;
  for (const part of nameWithin(type).split(".")) member = (member as Record<string, unknown>)[part];
  return member as CodecClass;
}
