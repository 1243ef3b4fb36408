import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Channel, type ChannelModel, type ConfirmChannel, connect } from "amqplib";
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
 * RabbitMQ with quorum queues of one member, one per queue of the workload. It runs from its own directory with its own
 * Erlang name service, so that nothing of an installed RabbitMQ is touched.
 */
export class RabbitMqQuorum implements Contender {
  readonly name = "RabbitMQ quorum";
  readonly settings: string;
  readonly #command: string;

  constructor(command: string, version: string) {
    this.#command = command;
    this.settings = `${version}; quorum queues (log synced before the confirm), 1 member, a queue per queue; publisher confirms, persistent; manual acks, prefetch ${prefetch} (AMQP does not confirm an ack: it counts when it was handed to the socket)`;
  }

  async start(directory: string): Promise<Server> {
    mkdirSync(directory, { recursive: true });
    const [port, distributionPort, namesPort] = await freePorts(3);
    writeFileSync(
      join(directory, "rabbitmq.conf"),
      [
        `listeners.tcp.1 = 127.0.0.1:${port}`,
        `distribution.listener.port_range.min = ${distributionPort}`,
        `distribution.listener.port_range.max = ${distributionPort}`,
        "log.console = true",
        "log.console.level = info",
        "log.file = false",
        // The directory is of a run, the disk is the machine's.
        "disk_free_limit.absolute = 50MB",
      ].join("\n"),
    );
    writeFileSync(join(directory, "enabled_plugins"), "[].");
    writeFileSync(join(directory, "environment.conf"), "");
    // In the foreground, so that it ends with us; the server would start one that stays behind.
    const names = new RunningProcess("epmd", ["-port", String(namesPort), "-address", "127.0.0.1"]);
    const server = new RunningProcess(this.#command, [], {
      HOME: directory,
      ERL_EPMD_PORT: String(namesPort),
      ERL_EPMD_ADDRESS: "127.0.0.1",
      RABBITMQ_NODENAME: `popmesh-bench-${process.pid}@localhost`,
      RABBITMQ_CONF_ENV_FILE: join(directory, "environment.conf"),
      RABBITMQ_CONFIG_FILE: join(directory, "rabbitmq"),
      RABBITMQ_MNESIA_BASE: join(directory, "mnesia"),
      RABBITMQ_LOG_BASE: join(directory, "log"),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(directory, "enabled_plugins"),
      RABBITMQ_PID_FILE: join(directory, "pid"),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-kernel inet_dist_use_interface {127,0,0,1}",
      // The start script then becomes the server, and its pid is the server's; it stops on SIGTERM all the same.
      RABBITMQ_ALLOW_INPUT: "1",
      RABBITMQ_SERVER_START_ARGS: "-noinput",
    });
    const stop = async () => {
      await stopHard(server, 20_000);
      await names.stop("SIGKILL");
    };
    try {
      await server.printed("completed with", 60_000);
    } catch (error) {
      await stop();
      throw error;
    }
    return {
      processes: [server.child.pid!],
      open: (workload, events) => RabbitSession.open(port!, workload, events),
      stop,
    };
  }
}

/** Messages that a consumer has on the way to it: eight batches of popmesh's. */
const prefetch = 256;

class RabbitSession implements Session {
  readonly #workload: Workload;
  readonly #connections: readonly ChannelModel[];
  readonly #channels: readonly ConfirmChannel[];
  readonly #consuming: Channel[] = [];
  #isStopped = false;

  static async open(port: number, workload: Workload, events: SessionEvents): Promise<RabbitSession> {
    const make = () => connect(`amqp://guest:guest@127.0.0.1:${port}?frameMax=131072`, { noDelay: true });
    const producers = await Promise.all(Array.from({ length: workload.producers }, make));
    const consumers = await Promise.all(Array.from({ length: workload.consumers }, make));
    const channels = await Promise.all(producers.map((producer) => producer.createConfirmChannel()));
    for (let queue = 0; queue < workload.queues; queue++) {
      await channels[0]!.assertQueue(`${workload.name}-${queue}`, {
        durable: true,
        arguments: { "x-queue-type": "quorum", "x-quorum-initial-group-size": 1 },
      });
    }
    const session = new RabbitSession(workload, [...producers, ...consumers], channels);
    for (const connection of session.#connections) {
      connection.on("error", (error) => {
        if (!session.#isStopped) events.failed(error);
      });
    }
    await session.#consume(consumers, events);
    return session;
  }

  private constructor(workload: Workload, connections: readonly ChannelModel[], channels: readonly ConfirmChannel[]) {
    this.#workload = workload;
    this.#connections = connections;
    this.#channels = channels;
  }

  send(producer: number, number: number, confirmed: (error?: Error) => void): void {
    const body = Buffer.alloc(this.#workload.bodyBytes, "b");
    writeNumber(body, number);
    const queue = `${this.#workload.name}-${number % this.#workload.queues}`;
    this.#channels[producer]!.sendToQueue(queue, body, { persistent: true }, (error: unknown) =>
      confirmed(error === null || error === undefined ? undefined : new Error(`publish: ${String(error)}`)),
    );
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    // Closing a channel is answered behind its acks; closing the connection at once would lose some.
    await Promise.all(this.#consuming.map((channel) => channel.close()));
    await Promise.all(this.#connections.map((connection) => connection.close()));
  }

  async #consume(consumers: readonly ChannelModel[], events: SessionEvents): Promise<void> {
    const { queues, name } = this.#workload;
    for (let i = 0; i < Math.max(queues, consumers.length); i++) {
      const channel = await consumers[i % consumers.length]!.createChannel();
      this.#consuming.push(channel);
      await channel.prefetch(prefetch);
      await channel.consume(`${name}-${i % queues}`, (message) => {
        if (message === null) {
          if (!this.#isStopped) events.failed(new Error("the queue is gone"));
          return;
        }
        channel.ack(message);
        const number = readNumber(message.content);
        setImmediate(() => events.acked(number));
      });
    }
  }
}
