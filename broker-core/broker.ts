import type { SocketSource } from "../proto/frame/frame-socket.ts";
import { AdminServer } from "../proto/runtime/admin-server.ts";
import type { Clock } from "../proto/runtime/clock.ts";
import type { Log } from "../proto/runtime/log.ts";
import { MetricRegistry } from "../proto/runtime/metric.ts";
import type { Randomness } from "../proto/runtime/randomness.ts";
import { defineAdminRoutes } from "./admin-routes.ts";
import type { Now } from "./broker-port.ts";
import { BrokerState, type BrokerStateOptions } from "./broker-state.ts";
import { type Checkpoint, findCheckpoint } from "./checkpoint/checkpoint-store.ts";
import { Checkpointer } from "./checkpoint/checkpointer.ts";
import { reportConsequences } from "./commit-log/damage-report.ts";
import { openCommitLog } from "./commit-log/open-commit-log.ts";
import type { BrokerConfig } from "./config.ts";
import { IndexFiles } from "./consume-queue/index-files.ts";
import { noteRelease, refuseForeignBase } from "./directory-release.ts";
import type { BrokerTables } from "./dispatch/broker-tables.ts";
import type { DamageConsequences } from "./dispatch/replay-damage.ts";
import { StateImageError } from "./dispatch/state-image.ts";
import { DataDirectoryError, openIdentity } from "./identity.ts";
import { LogHandle } from "./log-handle.ts";
import { laneDryRun } from "./look-up/lane-dry-run.ts";
import { messageOperations } from "./look-up/message-operations.ts";
import { RecordFinder } from "./look-up/record-finder.ts";
import { StretchIndexer } from "./look-up/stretch-indexer.ts";
import { TrimReason } from "./record/log-trimmed-record.ts";
import { Registrar } from "./registration/registrar.ts";
import { baseDirectory, listBases, readBase } from "./retention/base-image-store.ts";
import { logBeginOf } from "./retention/log-begin.ts";
import { Retention } from "./retention/retention.ts";
import { FrameServer } from "./service/frame-server.ts";
import { ProducerDirectory } from "./service/producer-directory.ts";
import { ReceiveTable } from "./service/receive-table.ts";
import type { Storage, StorageError } from "./storage/storage.ts";

export interface BrokerDeps {
  /** The data directory, not locked yet; its owner unlocks it after `stop`. */
  readonly storage: Storage;
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly log: Log;
  /** Where connections come from. Left out: the TCP port of the configuration, with the admin port beside it. */
  readonly sockets?: SocketSource;
  /** Of the youngest part of the log in memory; left out: 8 MiB. What is older waits in the cold lane (service/cold-lane.ts). */
  readonly tailRingBytes?: number;
  /** The disk failed: what is open was refused, nothing more is acknowledged, and the process must end with code 74. */
  readonly onDiskFailure: (error: StorageError) => void;
}

/** A broker that runs. */
export interface Broker {
  /** Where it listens, with the real ports. */
  readonly port: number;
  readonly adminPort: number;
  /** What is behind the port: the state machine, for checks that look further than the wire. */
  readonly state: BrokerState;
  /** How it was made: the same options and the same log make the same state (B11). */
  readonly stateOptions: BrokerStateOptions;
  /** Drains, writes a last checkpoint, closes everything. */
  stop(): Promise<void>;
  /** Ends everything now, as the death of the process would; idempotent. */
  stopNow(): void;
}

/**
 * The whole broker, from the disk up:
 *
 *     storage → commit log → state machine → frame server ← sidecars
 *                  └── checkpoints ──┘          └── registration → control plane
 *
 * Throws `StorageError` (locked, or the disk refuses), `DataDirectoryError`, `LogFormatError`, or the system's error for a
 * taken port.
 */
export async function startBroker(config: BrokerConfig, deps: BrokerDeps): Promise<Broker> {
  const { storage, clock, randomness, log } = deps;
  const metrics = new MetricRegistry();
  const now = (): Now => ({ monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() });

  // What is on disk.
  storage.lock();
  const identity = await openIdentity(storage, randomness, config.name);

  // The state machine: from the newest checkpoint, then every record behind it.
  const runId = randomness.uint32();
  const handle = new LogHandle();
  const receives = new ReceiveTable();
  const producers = new ProducerDirectory();
  const finder = new RecordFinder(() => commitLog.history, handle, storage, clock);
  const lookUps = (tables: BrokerTables) => [
    ...messageOperations(tables, handle, finder, () => clock.monotonicMs()),
    laneDryRun(tables, handle, finder, () => commitLog.readAhead, clock),
  ];
  const options = {
    ...{ ...identity, runId, bootId: clock.bootId, start: now(), groupStart: config.groupStart, lookUps },
    orphans: producers,
    delayMsMax: config.delayMax,
    checkPolicy: {
      firstCheckMs: config.transactionFirstCheck,
      checkIntervalMs: config.transactionCheckInterval,
      checksMax: config.transactionChecksMax,
      ageMsMax: config.transactionAgeMax,
    },
  };
  const begin = logBeginOf(storage);
  refuseForeignBase(storage, begin);
  const checkpoint = findCheckpoint(storage, log);
  const index = new IndexFiles({ storage, randomness, log });
  // Until all that is there was read nobody knows whether it is of a newer release, which may want it as it is.
  index.hold();
  const indexOptions = { ...options, indexPages: index, indexBytes: config.indexMemory };
  const { state, position } = restoreState(deps, handle, receives, indexOptions, begin, checkpoint.newest);
  let disk: "sound" | "failed" = "sound";
  const { log: commitLog } = await openCommitLog({
    ...{ storage, clock, randomness, log, metrics, begin, from: state.replayFrom, durable: position },
    flush: config.flush,
    segmentBytes: config.segmentSize,
    ...(deps.tailRingBytes === undefined ? {} : { tailRingBytes: deps.tailRingBytes }),
    visit: (record) => state.replay(record),
    onRead: async () => {
      await noteRelease(storage, log);
      await checkpoint.tidy();
      index.settle();
    },
    damage: state,
    onFailure: (error) => {
      disk = "failed";
      log.error({ err: error }, "the log cannot be trusted any more; the broker ends");
      server.failOpenRequests(`the broker's disk failed (${error.message}); it ends`);
      deps.onDiskFailure(error);
    },
  });
  handle.connect(commitLog);
  const written = "Bytes given to the disk since the start: the log, segments prepared for it, checkpoints, marks.";
  metrics.gaugeOf("popmesh_broker_disk_written_bytes", written, () => storage.writtenBytes);
  const lanesOff = "1: all lanes are suspended, and base handles everything (popmesh lanes off).";
  metrics.gaugeOf("popmesh_broker_lanes_off", lanesOff, () => (state.areLanesOff ? 1 : 0));
  state.goLive(now());
  await tellDamage(deps, metrics, state.damageConsequences);
  // Damage took the record that goes with the base image: what it said is said again.
  if (state.logBegin < begin) state.trimLog(begin, TrimReason.Age, now());

  // Who asks it.
  const server = new FrameServer(receives, {
    ...{ port: state, log: commitLog, clock, diagnostics: log, metrics, runId, producers },
    brokerName: identity.brokerName,
    readAhead: commitLog.readAhead,
  });
  const checkpointer = new Checkpointer(
    {
      appliedPosition: () => state.appliedPosition,
      snapshot: () => state.snapshot(),
      syncedPosition: () => commitLog.syncedPosition,
      index,
    },
    { storage, clock, log, everyBytes: config.checkpointEvery, lastPosition: position },
  );
  const retention = new Retention(state, commitLog, {
    ...{ storage, clock, log, metrics, bases: listBases(storage) },
    settings: { ageMs: config.retentionAge, bytes: config.retentionBytes },
  });
  const indexer = new StretchIndexer(commitLog.history, { storage, clock, log });
  let isStopping = false;
  const admin = new AdminServer({ log });
  defineAdminRoutes(admin, {
    config,
    metrics,
    port: state,
    operate: (method, parameters) => server.operate(method, parameters),
    notReadyBecause: () => {
      if (isStopping) return "the broker is stopping";
      if (disk === "failed") return "the disk failed";
      return commitLog.takesMessages ? undefined : "the log takes no messages: the disk is full, read-only or slow";
    },
  });
  const stopNow = (): void => {
    isStopping = true;
    server.close("the broker ends");
    registrar?.stopNow();
    indexer.stop();
    commitLog.abandon();
    void checkpointer.stop();
    void retention.stop();
    index.close();
    void admin.close();
  };
  let registrar: Registrar | undefined;
  let port: number;
  let adminPort: number;
  try {
    if (deps.sockets === undefined) {
      port = await server.listen(config.listen);
      adminPort = await admin.listen(config.admin);
    } else {
      server.listenTo(deps.sockets);
      port = 0;
      adminPort = 0;
    }
  } catch (error) {
    stopNow();
    throw error;
  }
  if (config.controlPlane !== undefined) {
    const advertise = config.advertise ?? { host: config.listen.host, port };
    registrar = new Registrar({
      ...{ advertise, runId, clock, randomness, log },
      areLanesOff: () => state.areLanesOff,
      takesMessages: () => commitLog.takesMessages,
      controlPlane: config.controlPlane,
      brokerName: identity.brokerName,
    });
    registrar.start();
  }
  log.info({ name: config.name, port, adminPort }, "the broker is ready");

  return {
    port,
    adminPort,
    state,
    stateOptions: options,
    stop: async () => {
      if (isStopping) return;
      isStopping = true;
      // GoAway tells the connected sidecars; the registry tells those that are not. Neither waits for the other.
      void registrar?.drain();
      await server.drain(config.drain);
      indexer.stop();
      await retention.stop();
      await checkpointer.stop();
      const position = state.appliedPosition;
      const image = state.snapshot();
      await commitLog.close();
      if (disk === "sound") await checkpointer.writeLast(position, image);
      index.close();
      await registrar?.stop();
      await admin.close();
    },
    stopNow,
  };
}

/** What is lost of the log, and what that means to topics and groups: in the log, as a figure, and in damage.json. */
async function tellDamage(
  { storage, clock, log }: BrokerDeps,
  metrics: MetricRegistry,
  consequences: DamageConsequences,
): Promise<void> {
  const { messages, notes } = consequences;
  const lost = messages.reduce((sum, { count }) => sum + count, 0);
  metrics.gauge("popmesh_broker_lost_messages", "Messages that the last start found to be lost.").set(lost);
  if (lost === 0 && Object.keys(notes).length === 0) return;
  for (const stretch of messages) log.error({ ...stretch }, "messages are lost; their offsets stay taken");
  for (const [note, count] of Object.entries(notes))
    log.error({ note, count }, "a consequence of the lost part of the log");
  await reportConsequences(storage, log, consequences, clock.wallMs());
}

/** A checkpoint of another release, or one that lies, is passed over: the log knows everything. */
function restoreState(
  { storage, log }: BrokerDeps,
  handle: LogHandle,
  receives: ReceiveTable,
  options: ConstructorParameters<typeof BrokerState>[2],
  begin: number,
  checkpoint: Checkpoint | undefined,
): { readonly state: BrokerState; readonly position: number } {
  if (checkpoint !== undefined && checkpoint.position >= begin) {
    try {
      const state = new BrokerState(handle, receives, options, checkpoint.bytes);
      return { state, position: checkpoint.position };
    } catch (error) {
      if (!(error instanceof StateImageError)) throw error;
      log.warn({ err: error }, "the checkpoint cannot be used; everything is read from the log");
    }
  }
  if (begin === 0) return { state: new BrokerState(handle, receives, options), position: 0 };
  const base = readBase(storage, begin);
  if (base === undefined) {
    throw new DataDirectoryError(
      `the log begins at position ${begin}, and neither copy of ${baseDirectory}/${String(begin).padStart(20, "0")} can be ` +
        "read, nor any checkpoint: nothing was changed; put a copy back from a backup",
    );
  }
  try {
    return { state: new BrokerState(handle, receives, options, base), position: begin };
  } catch (error) {
    if (!(error instanceof StateImageError)) throw error;
    throw new DataDirectoryError(`the base image at log position ${begin} cannot be read: ${error.message}`);
  }
}
