import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AckPolicy, jetstream, jetstreamManager, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { freePorts } from "../../support/free-port.ts";
import { RunningProcess } from "../../support/running-process.ts";
import {
  type Contender,
  readNumber,
  type Server,
  type Session,
  type SessionEvents,
  stopHard,
  type Workload,
  writeNumber,
} from "./contender.ts";

/**
 * NATS JetStream, file store, one stream per queue of the workload (a stream is what it syncs in parallel), pull consumers,
 * acknowledgements confirmed by the server (`ackAck`).
 */
export class NatsJetStream implements Contender {
  readonly name = "NATS JetStream";
  readonly settings: string;
  readonly #command: string;

  constructor(command: string, version: string) {
    this.#command = command;
    this.settings = `${version}; file store, sync_interval: always, 1 replica, a stream per queue; publish with PubAck; pull consumer, explicit ack confirmed by ackAck (the server keeps consumer positions without a sync)`;
  }

  async start(directory: string): Promise<Server> {
    mkdirSync(directory, { recursive: true });
    const [port] = await freePorts(1);
    const config = join(directory, "nats.conf");
    writeFileSync(
      config,
      `listen: "127.0.0.1:${port}"\njetstream { store_dir: ${JSON.stringify(join(directory, "data"))}, sync_interval: always }\nmax_payload: 4MB\n`,
    );
    const server = new RunningProcess(this.#command, ["-c", config]);
    await server.printed("Server is ready", 30_000);
    return {
      processes: [server.child.pid!],
      open: (workload, events) => NatsSession.open(port!, workload, events),
      stop: () => stopHard(server),
    };
  }
}

/** Messages that a consumer has on the way to it: four batches of popmesh's. */
const pulledMax = 128;
const ackWaitNanos = 60e9;

class NatsSession implements Session {
  readonly #connections: readonly NatsConnection[];
  readonly #publish: readonly ((body: Buffer, subject: string) => Promise<unknown>)[];
  readonly #workload: Workload;
  readonly #stops: (() => void)[] = [];

  static async open(port: number, workload: Workload, events: SessionEvents): Promise<NatsSession> {
    const make = () => connect({ servers: `127.0.0.1:${port}`, noEcho: true });
    const producers = await Promise.all(Array.from({ length: workload.producers }, make));
    const consumers = await Promise.all(Array.from({ length: workload.consumers }, make));
    const manager = await jetstreamManager(producers[0]!);
    for (let queue = 0; queue < workload.queues; queue++) {
      const name = `${workload.name}-${queue}`;
      await manager.streams.add({
        name,
        subjects: [name],
        storage: StorageType.File,
        retention: RetentionPolicy.Limits,
        num_replicas: 1,
      });
      await manager.consumers.add(name, {
        durable_name: "bench",
        ack_policy: AckPolicy.Explicit,
        ack_wait: ackWaitNanos,
        max_ack_pending: 20_000,
      });
    }
    const session = new NatsSession(producers, consumers, workload);
    await session.#consume(consumers, events);
    return session;
  }

  private constructor(producers: NatsConnection[], consumers: NatsConnection[], workload: Workload) {
    this.#connections = [...producers, ...consumers];
    this.#workload = workload;
    this.#publish = producers.map((producer) => {
      const client = jetstream(producer, { timeout: 30_000 });
      return (body, subject) => client.publish(subject, body);
    });
  }

  send(producer: number, number: number, confirmed: (error?: Error) => void): void {
    const body = Buffer.alloc(this.#workload.bodyBytes, "b");
    writeNumber(body, number);
    const subject = `${this.#workload.name}-${number % this.#workload.queues}`;
    this.#publish[producer]!(body, subject).then(() => confirmed(), confirmed);
  }

  async stop(): Promise<void> {
    for (const stop of this.#stops) stop();
    await Promise.all(this.#connections.map((connection) => connection.close()));
  }

  async #consume(consumers: readonly NatsConnection[], events: SessionEvents): Promise<void> {
    const { queues, name } = this.#workload;
    // Every consumer has a stream, and every stream a consumer.
    for (let i = 0; i < Math.max(queues, consumers.length); i++) {
      const client = jetstream(consumers[i % consumers.length]!, { timeout: 30_000 });
      const consumer = await client.consumers.get(`${name}-${i % queues}`, "bench");
      const messages = await consumer.consume({
        max_messages: pulledMax,
        callback: (message) => {
          const number = readNumber(message.data);
          message.ackAck({ timeout: 30_000 }).then(
            (isConfirmed) => {
              if (isConfirmed) events.acked(number);
              else events.failed(new Error(`ack of message ${number} not confirmed`));
            },
            (error: Error) => events.failed(error),
          );
        },
      });
      this.#stops.push(() => messages.stop());
    }
  }
}
