import assert from "node:assert/strict";
import { apache } from "#codec/rocketmq-v2";
import { envoy } from "#codec/xds-v3";
import { Code } from "../../../../proto/code.ts";
import { GeneralCodec } from "../../../../proto/codec/general-codec.ts";
import { MessageScan, scanMessage } from "../../../../proto/codec/message-scan.ts";
import { SendMessageScan } from "../../../../proto/codec/send-message.ts";
import { MeshError } from "../../../../proto/runtime/mesh-error.ts";

const v2 = apache.rocketmq.v2;
const telemetry = new GeneralCodec(v2.TelemetryCommand, "apache.rocketmq.v2.TelemetryCommand");
const queryRoute = new GeneralCodec(v2.QueryRouteRequest, "apache.rocketmq.v2.QueryRouteRequest");
const queryRouteAnswer = new GeneralCodec(v2.QueryRouteResponse, "apache.rocketmq.v2.QueryRouteResponse");
const message = new GeneralCodec(v2.Message, "apache.rocketmq.v2.Message");
const discovery = new GeneralCodec(
  envoy.service.discovery.v3.DeltaDiscoveryRequest,
  "envoy.service.discovery.v3.DeltaDiscoveryRequest",
);

describe("the general codec", () => {
  it("gives back what was encoded", () => {
    const bytes = telemetry.encode({
      settings: { clientType: v2.ClientType.PRODUCER, userAgent: { version: "5.2.1" } },
    });
    const decoded = telemetry.decode(bytes);
    assert.equal(decoded.command, "settings");
    assert.equal(decoded.settings?.userAgent?.version, "5.2.1");
  });

  it("decodes a range of a larger buffer", () => {
    const bytes = queryRoute.encode({ topic: { name: "orders" } });
    const around = Buffer.concat([Buffer.alloc(3, 0xff), bytes, Buffer.alloc(3, 0xff)]);
    assert.equal(queryRoute.decode(around, 3, 3 + bytes.length).topic?.name, "orders");
  });

  it("refuses a type that the schemas do not have", () => {
    assert.throws(() => new GeneralCodec(v2.Message, "apache.rocketmq.v2.Massage"), /no message type .*Massage/);
  });

  it("refuses text that is not UTF-8", () => {
    refused(() => queryRoute.decode(Buffer.from("0a041202c0af", "hex")), /are no apache.rocketmq.v2.QueryRouteRequest/);
  });

  it("takes the largest numbers of elements that are allowed, and refuses one more", () => {
    const subscriptions = (count: number) =>
      telemetry.encode({
        settings: { subscription: { subscriptions: Array.from({ length: count }, () => ({ topic: { name: "t" } })) } },
      });
    assert.equal(telemetry.decode(subscriptions(1024)).settings?.subscription?.subscriptions.length, 1024);
    refused(() => telemetry.decode(subscriptions(1025)), /more than 1024 elements/);

    const properties = (count: number) =>
      message.encode({ userProperties: Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, "v"])) });
    assert.equal(Object.keys(message.decode(properties(128)).userProperties).length, 128);
    refused(() => message.decode(properties(129)), /more than 128 map entries/);

    const types = (count: number) =>
      queryRouteAnswer.encode({ messageQueues: [{ acceptMessageTypes: Array.from({ length: count }, () => 1) }] });
    assert.equal(queryRouteAnswer.decode(types(1024)).messageQueues[0]?.acceptMessageTypes.length, 1024);
    refused(() => queryRouteAnswer.decode(types(1025)), /more than 1024 elements/);
  });

  it("counts numbers that are not packed, and pieces of one sub-message", () => {
    const queue = Buffer.concat(Array.from({ length: 1025 }, () => Buffer.from([0x28, 0x01])));
    refused(
      () => queryRouteAnswer.decode(Buffer.concat([Buffer.from([0x12, ...lengthOf(queue)]), queue])),
      /more than 1024 elements/,
    );
    refused(() => queryRoute.decode(Buffer.alloc(2 * 1025, Buffer.from([0x0a, 0x00]))), /more than 1024 elements/);
  });

  it("takes messages sixteen levels deep, and refuses deeper ones", () => {
    // DeltaDiscoveryRequest > Node > Struct > entry > Value, then per level of list: ListValue > Value.
    const nested = (lists: number) => {
      let value: object = { stringValue: "bottom" };
      for (let i = 0; i < lists; i++) value = { listValue: { values: [value] } };
      return discovery.encode({ node: { metadata: { fields: { a: value } } } });
    };
    assert.ok(discovery.decode(nested(5)).node);
    refused(() => discovery.decode(nested(6)), /more than 16 levels/);
  });

  it("refuses a bomb before it decodes anything of it, quickly", () => {
    const bombs: Record<string, Buffer> = {
      "empty sub-messages": Buffer.alloc(4 * 1024 * 1024, Buffer.from([0x12, 0x00])),
      "map entries": Buffer.alloc(4 * 1024 * 1024, Buffer.from([0x12, 0x02, 0x0a, 0x00])),
      "small numbers": Buffer.alloc(4 * 1024 * 1024, Buffer.from([0x28, 0x01])),
      "unknown fields": Buffer.alloc(4 * 1024 * 1024, Buffer.from([0x78, 0x01])),
    };
    const scan = new MessageScan();
    const send = new SendMessageScan();
    for (const [name, bomb] of Object.entries(bombs)) {
      for (const read of [
        () => telemetry.decode(bomb),
        () => queryRouteAnswer.decode(bomb),
        () => message.decode(bomb),
        () => scanMessage(bomb, 0, bomb.length, scan),
        () => send.read(bomb, 0, bomb.length),
      ]) {
        const before = process.memoryUsage().heapUsed;
        const cpu = process.cpuUsage();
        refused(read, /malformed/);
        const { user, system } = process.cpuUsage(cpu);
        assert.ok(user + system < 50_000, `${name}: ${user + system} µs`);
        assert.ok(process.memoryUsage().heapUsed - before < 4 * 1024 * 1024, `${name} took memory`);
      }
    }
  });
});

function refused(read: () => void, text: RegExp): void {
  assert.throws(
    read,
    (error) => error instanceof MeshError && error.code === Code.BadRequest && text.test(error.message),
  );
}

function lengthOf(bytes: Buffer): number[] {
  return [(bytes.length & 0x7f) | 0x80, bytes.length >> 7];
}
