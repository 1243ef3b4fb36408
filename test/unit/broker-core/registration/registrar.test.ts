import assert from "node:assert/strict";
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData, status } from "@grpc/grpc-js";
import { popmesh } from "#codec/popmesh-v1";
import { Registrar } from "../../../../broker-core/registration/registrar.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { freePorts } from "../../../support/free-port.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { waitUntil } from "../../../support/wait-until.ts";

const { v1 } = popmesh;

/** The registry of a control plane, as far as brokers use it. */
class Registry {
  readonly registrations: popmesh.v1.RegisterBrokerRequest[] = [];
  readonly leavings: popmesh.v1.DeregisterBrokerRequest[] = [];
  leaseMs = 9_000;
  isFailing = false;
  #server: Server | undefined;

  async start(port: number): Promise<void> {
    const server = new Server();
    const method = <Q>(path: string, decode: (bytes: Buffer) => Q, serve: (request: Q) => Uint8Array) => ({
      ...{ path, requestStream: false as const, responseStream: false as const },
      requestSerialize: () => Buffer.alloc(0),
      requestDeserialize: decode,
      responseSerialize: (bytes: Uint8Array) => Buffer.from(bytes),
      responseDeserialize: (bytes: Buffer) => bytes,
      serve: (call: ServerUnaryCall<Q, Uint8Array>, done: sendUnaryData<Uint8Array>) => {
        if (this.isFailing) done({ code: status.UNAVAILABLE, details: "not now" });
        else done(null, serve(call.request));
      },
    });
    const register = method("/popmesh.v1.Registry/RegisterBroker", v1.RegisterBrokerRequest.decode, (request) => {
      this.registrations.push(request);
      return v1.RegisterBrokerAnswer.encode({ leaseMs: this.leaseMs }).finish();
    });
    const leave = method("/popmesh.v1.Registry/DeregisterBroker", v1.DeregisterBrokerRequest.decode, (request) => {
      this.leavings.push(request);
      return v1.DeregisterBrokerAnswer.encode({}).finish();
    });
    server.addService({ register, leave }, { register: register.serve, leave: leave.serve });
    await new Promise<void>((resolve, reject) =>
      server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      ),
    );
    this.#server = server;
  }

  stop(): void {
    this.#server?.forceShutdown();
    this.#server = undefined;
  }
}

describe("The registration of a broker", () => {
  let registry: Registry;
  let clock: WallClock;
  let registrar: Registrar;
  let port: number;
  let areLanesOff: boolean;
  let takesMessages: boolean;

  beforeEach(async () => {
    registry = new Registry();
    clock = new WallClock();
    areLanesOff = false;
    takesMessages = true;
    [port] = (await freePorts(1)) as [number];
    registrar = new Registrar({
      controlPlane: { host: "127.0.0.1", port },
      brokerName: "broker-a",
      advertise: { host: "10.0.0.7", port: 17_000 },
      runId: 42,
      areLanesOff: () => areLanesOff,
      takesMessages: () => takesMessages,
      ...{ clock, randomness: new SeededRandomness(3), log: silentLog },
    });
  });
  afterEach(() => {
    registrar.stopNow();
    registry.stop();
  });

  const registered = async (count: number): Promise<void> => {
    await waitUntil(`${count} registrations`, () => registry.registrations.length >= count);
    await waitUntil("the answer has arrived", () => registrar.registeredMs !== undefined);
  };

  it("says who and where it is, and renews every third of the lease", async () => {
    await registry.start(port);
    registrar.start();
    await registered(1);
    const [{ brokerName, host, port: told, runId, draining, writable }] = registry.registrations as [
      popmesh.v1.RegisterBrokerRequest,
    ];
    assert.deepEqual(
      [brokerName, host, told, runId, draining, writable],
      ["broker-a", "10.0.0.7", 17_000, 42, false, true],
    );
    await waitUntil("the renewal is planned", () => clock.pendingTimers === 1);
    clock.advance(2_900);
    assert.equal(registry.registrations.length, 1);
    clock.advance(200);
    await registered(2);
  });

  it("goes on trying while the control plane is down, with growing pauses of at most 5 s", async () => {
    registrar.start();
    await waitUntil("a first attempt has failed", () => clock.pendingTimers === 1);
    for (let attempt = 0; attempt < 4; attempt++) {
      clock.advance(5_000);
      await waitUntil("the next attempt has failed", () => clock.pendingTimers === 1);
    }
    assert.equal(registrar.registeredMs, undefined);
    await registry.start(port);
    await waitUntil("it is registered", () => {
      if (clock.pendingTimers === 1) clock.advance(1_000);
      return registry.registrations.length > 0;
    });
  });

  it("says within a second that its lanes are off, and on again, and renews when it would have", async () => {
    await registry.start(port);
    registrar.start();
    await registered(1);
    await waitUntil("the renewal is planned", () => clock.pendingTimers === 1);
    areLanesOff = true;
    clock.advance(1_000);
    await registered(2);
    await waitUntil("the renewal is planned", () => clock.pendingTimers === 1);
    areLanesOff = false;
    clock.advance(1_000);
    await registered(3);
    assert.deepEqual(
      registry.registrations.map(({ lanesOff }) => lanesOff),
      [false, true, false],
    );
    await waitUntil("the renewal is planned", () => clock.pendingTimers === 1);
    clock.advance(2_900);
    assert.equal(registry.registrations.length, 3, "nothing has changed");
    clock.advance(200);
    await registered(4);
  });

  it("says that it takes no messages when it has taken none for two looks, and when it takes them again", async () => {
    await registry.start(port);
    registrar.start();
    await registered(1);
    const look = async () => {
      await waitUntil("the next look is planned", () => clock.pendingTimers === 1);
      clock.advance(1_000);
    };
    takesMessages = false;
    await look();
    takesMessages = true;
    await look();
    takesMessages = false;
    // The third look is the renewal.
    await look();
    await registered(2);
    await look();
    await registered(3);
    takesMessages = true;
    await look();
    await registered(4);
    assert.deepEqual(
      registry.registrations.map(({ writable }) => writable),
      [true, true, false, true],
    );
  });

  it("says at once that it drains, and leaves when it stops", async () => {
    await registry.start(port);
    registrar.start();
    await registered(1);
    await registrar.drain();
    const told = registry.registrations.at(-1);
    assert.deepEqual([told?.draining, told?.writable], [true, false]);
    await registrar.stop();
    assert.deepEqual(
      registry.leavings.map(({ brokerName, runId }) => [brokerName, runId]),
      [["broker-a", 42]],
    );
  });

  it("stops without complaint when the control plane is gone", async () => {
    await registry.start(port);
    registrar.start();
    await registered(1);
    registry.isFailing = true;
    await registrar.drain();
    await registrar.stop();
    assert.equal(registry.leavings.length, 0);
  });
});

/** Deadlines of gRPC are told by the real wall clock. */
class WallClock extends ManualClock {
  override wallMs(): number {
    return Date.now();
  }
}
