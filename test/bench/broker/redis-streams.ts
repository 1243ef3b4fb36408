import { mkdirSync } from "node:fs";
import { createClient, RESP_TYPES } from "@redis/client";
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

/** Redis Streams: one stream per queue of the workload, XADD, XREADGROUP, XACK, each answered after the append-only file is synced. */
export class RedisStreams implements Contender {
  readonly name = "Redis Streams";
  readonly settings: string;
  readonly #command: string;

  constructor(command: string, version: string) {
    this.#command = command;
    this.settings = `${version}; appendonly yes, appendfsync always, no snapshots, no rewrite of the file; a stream per queue; XADD, XREADGROUP COUNT ${readMax}, XACK, all pipelined`;
  }

  async start(directory: string): Promise<Server> {
    mkdirSync(directory, { recursive: true });
    const [port] = await freePorts(1);
    const server = new RunningProcess(this.#command, [
      ...["--bind", "127.0.0.1", "--port", String(port), "--dir", directory, "--save", ""],
      ...["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"],
    ]);
    await server.printed("Ready to accept connections", 30_000);
    return {
      processes: [server.child.pid!],
      open: (workload, events) => RedisSession.open(port!, workload, events),
      stop: () => stopHard(server),
    };
  }
}

/** Messages per read: four batches of popmesh's. */
const readMax = 128;
const blockMs = 1_000;

type Client = ReturnType<typeof createClient>;
type Entry = readonly [id: Buffer, fields: readonly Buffer[]];
type Read = readonly (readonly [key: Buffer, entries: readonly Entry[]])[] | null;
const asBuffers = { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } };

class RedisSession implements Session {
  readonly #workload: Workload;
  readonly #producers: readonly Client[];
  /** A connection that waits in XREADGROUP can do nothing else: a consumer acknowledges on a second one. */
  readonly #readers: readonly Client[];
  readonly #ackers: readonly Client[];
  readonly #events: SessionEvents;
  #isStopped = false;

  static async open(port: number, workload: Workload, events: SessionEvents): Promise<RedisSession> {
    const make = async (): Promise<Client> => {
      const client: Client = createClient({ socket: { host: "127.0.0.1", port, noDelay: true }, RESP: 2 });
      client.on("error", (error: Error) => events.failed(error));
      await client.connect();
      return client;
    };
    const clients = (length: number) => Promise.all(Array.from({ length }, make));
    const producers = await clients(workload.producers);
    const readers = await clients(workload.consumers);
    const ackers = await clients(workload.consumers);
    for (let queue = 0; queue < workload.queues; queue++) {
      const create = ["XGROUP", "CREATE", `${workload.name}-${queue}`, "bench", "0", "MKSTREAM"];
      await producers[0]!.sendCommand(create).catch((error: Error) => {
        if (!error.message.includes("BUSYGROUP")) throw error;
      });
    }
    const session = new RedisSession(workload, producers, readers, ackers, events);
    for (let i = 0; i < workload.consumers; i++) void session.#read(i);
    return session;
  }

  private constructor(
    workload: Workload,
    producers: readonly Client[],
    readers: readonly Client[],
    ackers: readonly Client[],
    events: SessionEvents,
  ) {
    this.#workload = workload;
    this.#producers = producers;
    this.#readers = readers;
    this.#ackers = ackers;
    this.#events = events;
  }

  send(producer: number, number: number, confirmed: (error?: Error) => void): void {
    const body = Buffer.alloc(this.#workload.bodyBytes, "b");
    writeNumber(body, number);
    const key = `${this.#workload.name}-${number % this.#workload.queues}`;
    this.#producers[producer]!.sendCommand(["XADD", key, "*", "b", body]).then(() => confirmed(), confirmed);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const reader of this.#readers) reader.destroy();
    await Promise.all([...this.#producers, ...this.#ackers].map((client) => client.close()));
  }

  /** Each consumer reads its share of the streams; with fewer streams than consumers they share. */
  async #read(consumer: number): Promise<void> {
    const { queues, consumers, name } = this.#workload;
    const keys = Array.from({ length: queues }, (_, queue) => queue)
      .filter((queue) => (queues < consumers ? queue === consumer % queues : queue % consumers === consumer))
      .map((queue) => `${name}-${queue}`);
    const command = [
      ...["XREADGROUP", "GROUP", "bench", `c${consumer}`, "COUNT", String(readMax), "BLOCK", String(blockMs)],
      ...["STREAMS", ...keys, ...keys.map(() => ">")],
    ];
    while (!this.#isStopped) {
      try {
        const read = (await this.#readers[consumer]!.sendCommand(command, asBuffers)) as unknown as Read;
        for (const [key, entries] of read ?? []) for (const entry of entries) this.#ack(consumer, key, entry);
      } catch (error) {
        if (!this.#isStopped) this.#events.failed(error as Error);
        return;
      }
    }
  }

  #ack(consumer: number, key: Buffer, [id, fields]: Entry): void {
    const number = readNumber(fields[1]!);
    this.#ackers[consumer]!.sendCommand(["XACK", key, "bench", id]).then(
      () => this.#events.acked(number),
      (error: Error) => this.#events.failed(error),
    );
  }
}
