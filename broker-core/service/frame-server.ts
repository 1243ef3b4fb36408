import { type AddressInfo, createServer, type Server } from "node:net";
import { readInPlace } from "../../proto/frame/accepted-socket.ts";
import type { FrameSocket, SocketSource } from "../../proto/frame/frame-socket.ts";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import type { MetricRegistry } from "../../proto/runtime/metric.ts";
import type { BrokerPort, Now, Operated } from "../broker-port.ts";
import type { LogWriter } from "../commit-log/log.ts";
import { answerHandOut, failAnswer, releaseAnswer } from "./answer.ts";
import { AnswerGate } from "./answer-gate.ts";
import { ColdLane, nothingIsCold, type PlaceReader } from "./cold-lane.ts";
import { Connection } from "./connection.ts";
import { LanePresences } from "./lane-presences.ts";
import type { ProducerDirectory } from "./producer-directory.ts";
import { PullTable } from "./pull-table.ts";
import type { ReceiveTable } from "./receive-table.ts";
import type { ServiceCore } from "./service-core.ts";
import { ServiceMetrics } from "./service-metrics.ts";
import { StateTimer } from "./state-timer.ts";
import { connectionsMax, defaultWindows, sweepLatenessMsMax, sweepMs, type Windows } from "./window.ts";

export interface FrameServerOptions {
  readonly producers: ProducerDirectory;
  readonly port: BrokerPort;
  readonly log: LogWriter;
  readonly clock: Clock;
  readonly diagnostics: Log;
  readonly metrics: MetricRegistry;
  readonly brokerName: string;
  /** Names this run of the process: below 2^53. */
  readonly runId: number;
  readonly windows?: Windows;
  /** Reads old parts of the log off the event loop; left out: the log is in memory. */
  readonly readAhead?: PlaceReader;
}

/** How often a drain looks whether everything has been answered. */
const drainLookMs = 10;

/**
 * Serves sidecars over the frame protocol. Made in two steps, because the state machine and this server need each other:
 * `receiveSink` goes into the state machine, then `serve` takes it.
 */
export class FrameServer {
  readonly #core: ServiceCore;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  #sweep: Timer | undefined;
  #nextSweepMs = 0;
  #stopListening = (): void => void this.#server.close();

  constructor(receives: ReceiveTable, options: FrameServerOptions) {
    const { port, log, clock } = options;
    const coldTurns = options.metrics.histogram(
      "popmesh_broker_cold_turn_seconds",
      "Turns of the event loop that served reads of old messages.",
    );
    const coldLane = new ColdLane(options.readAhead ?? nothingIsCold, clock, (ms) => coldTurns.observe(ms / 1000));
    const now = (): Now => ({ monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() });
    const core: ServiceCore = {
      port,
      log,
      clock,
      diagnostics: options.diagnostics,
      metrics: new ServiceMetrics(options.metrics),
      windows: options.windows ?? defaultWindows,
      brokerName: options.brokerName,
      runId: options.runId,
      written: new AnswerGate(
        {
          passedPosition: () => log.writtenPosition,
          whenPassed: (position, action) => log.whenWritten(position, action),
        },
        releaseAnswer,
      ),
      durable: new AnswerGate(
        {
          passedPosition: () => log.durablePosition,
          whenPassed: (position, action) => log.whenDurable(position, action),
        },
        (held) => {
          if (held.startedMs > 0) core.metrics.sendSeconds.observe((clock.monotonicMs() - held.startedMs) / 1000);
          releaseAnswer(held);
        },
      ),
      receives,
      producers: options.producers,
      presences: new LanePresences(({ group, topic, lane }, isThere) => {
        port.lanePresence(group, topic, lane, isThere, now());
        core.timer.touched();
      }),
      pulls: new PullTable(port, clock, coldLane),
      coldLane,
      timer: new StateTimer(clock, port, now),
      isDraining: false,
      now,
    };
    this.#core = core;
    options.producers.connect(options);
    receives.connect((connection, correlation, position, mustBeDurable, body, bodyBytes, handedOut) => {
      core.metrics.messagesHandedOut.add(handedOut.receipts.length);
      answerHandOut(core, connection, correlation, position, mustBeDurable, body, bodyBytes, handedOut);
    });
    log.onDurable = (durablePosition) => {
      port.onDurable(durablePosition, now());
      core.pulls.wake();
      core.timer.touched();
    };
    this.#server = createServer({ pauseOnConnect: true }, (socket) => this.#accept(readInPlace(socket)));
    this.#server.maxConnections = connectionsMax;
    options.metrics.gaugeOf(
      "popmesh_broker_lane_consumers",
      "Lanes of groups and topics in which a sidecar has consumers.",
      () => core.presences.count,
    );
    const waitingCold = "Receives and pulls of old messages that wait for the disk or their turn.";
    options.metrics.gaugeOf("popmesh_broker_cold_reads_waiting", waitingCold, () => coldLane.count);
    options.metrics.gaugeOf("popmesh_broker_parked_receives", "Receives that wait for messages.", () => receives.count);
  }

  /** An operator's call that came another way than by a frame; resolves when what it changed is on disk. */
  async operate(method: string, parameters: object): Promise<Operated> {
    const { port, log, timer } = this.#core;
    const operated = await port.operate(method, parameters, this.#core.now());
    timer.touched();
    if (!operated.ok || operated.position < log.durablePosition) return operated;
    return new Promise((resolve) => log.whenDurable(operated.position, () => resolve(operated)));
  }

  /** Resolves with the bound port; rejects with the system's error (EADDRINUSE). */
  listen(at: { readonly host: string; readonly port: number }): Promise<number> {
    this.#start();
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(at.port, at.host, () => {
        this.#server.off("error", reject);
        this.#server.on("error", (error) => this.#core.diagnostics.error({ err: error }, "accepting failed"));
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  /** As `listen`, with connections that come from elsewhere. */
  listenTo(source: SocketSource): void {
    this.#start();
    this.#stopListening = source.listen((socket) => this.#accept(socket));
  }

  #start(): void {
    this.#nextSweepMs = this.#core.clock.monotonicMs() + sweepMs;
    this.#sweep = this.#core.clock.every(sweepMs, () => this.#sweepConnections());
    this.#core.timer.touched();
  }

  /**
   * Stops in order: no new connections, GoAway to all, what is parked answered at once; resolves when everything open was
   * answered and taken by the system, or after `graceMs`. Connections are closed then.
   */
  async drain(graceMs: number): Promise<void> {
    const core = this.#core;
    core.isDraining = true;
    this.#stopListening();
    for (const connection of this.#connections) connection.goAway();
    core.pulls.endAll();
    const endMs = core.clock.monotonicMs() + graceMs;
    await new Promise<void>((resolve) => {
      const look = (): void => {
        const isDone = [...this.#connections].every((connection) => connection.isIdle);
        if (isDone || core.clock.monotonicMs() >= endMs) resolve();
        else core.clock.after(drainLookMs, look);
      };
      core.clock.after(drainLookMs, look);
    });
    this.close("the broker stops");
  }

  /** The log is broken: what waits for it is refused, and nothing is acknowledged any more (B12). */
  failOpenRequests(message: string): void {
    this.#core.isDraining = true;
    this.#stopListening();
    this.#core.durable.drain((held) => failAnswer(held, message));
    this.#core.written.drain((held) => failAnswer(held, message));
    for (const connection of this.#connections) connection.frames.end(message);
  }

  /** Cuts everything at once. */
  close(reason: string): void {
    this.#stopListening();
    this.#sweep?.cancel();
    for (const connection of [...this.#connections]) connection.frames.destroy(reason);
    this.#core.timer.stop();
  }

  #accept(socket: FrameSocket): void {
    const connection = new Connection(this.#core, socket, (closed) => {
      this.#connections.delete(closed);
      this.#core.metrics.connections.set(this.#connections.size);
      if (!this.#core.isDraining) this.#core.metrics.brokenConnections.add();
    });
    this.#connections.add(connection);
    this.#core.metrics.connections.set(this.#connections.size);
  }

  #sweepConnections(): void {
    const nowMs = this.#core.clock.monotonicMs();
    const latenessMs = nowMs - this.#nextSweepMs;
    this.#nextSweepMs = nowMs + sweepMs;
    // This process slept, not the peers: what they sent meanwhile is read before the next sweep.
    if (latenessMs > sweepLatenessMsMax) return;
    this.#core.presences.expire(nowMs);
    for (const connection of this.#connections) connection.sweep(nowMs);
  }
}
