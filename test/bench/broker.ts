import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type LoadFigures, type LoadSlice, runSlice } from "./broker/closed-load.ts";
import type { Contender, Missing, Server, Workload } from "./broker/contender.ts";
import { machineFacts } from "./broker/machine.ts";
import { findPeer, type PeerName, peers } from "./broker/peers.ts";
import { laneKinds, type MessageKind, messageKinds, Popmesh } from "./broker/popmesh.ts";
import { median, type Row, rowOf, table } from "./broker/table.ts";

/**
 * The broker core under send-and-ack load, by kind of message, size, flush mode and number of queues; and beside it, in the
 * same run with the same client shape and durability, NATS JetStream, Redis Streams and RabbitMQ quorum queues. Rounds go
 * A B C D A B C D; the figures are medians. The machine's speed drifts: the ratios are what holds.
 *
 *     npm run bench:broker -- --help
 */
const help = `npm run bench:broker -- [flags]

  --quick             popmesh alone, small counts, one round: does it work at all
  --rounds N          rounds (3)
  --seconds S         measured seconds of a slice (1.5); a quarter of it more warms up
  --producers N       producers, each with a connection (16)
  --in-flight N       sends of one producer that wait for their confirmation (16)
  --consumers N       consumers, each with a connection (4)
  --part P            popmesh, peers, lanes or all: the first two (all)
  --peers LIST        of ${Object.keys(peers).join(",")}; "none" for none (all)
  --only TEXT         only rows of popmesh's own table whose name contains this
  --directory DIR     where the data goes: the disk that is measured (a temporary directory)
  --broker-flag FLAG  a further flag of popmesh's broker; may be repeated
  --build DIR         beside the peers also the broker of another compiled tree, for before and after; may be repeated
  --profile DIR       writes a CPU profile of popmesh's broker; "perf": lets Linux perf name its functions
`;
const { values: flags } = parseArgs({
  options: {
    help: { type: "boolean" },
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    seconds: { type: "string" },
    producers: { type: "string" },
    "in-flight": { type: "string" },
    consumers: { type: "string" },
    part: { type: "string", default: "all" },
    peers: { type: "string" },
    only: { type: "string", default: "" },
    directory: { type: "string" },
    "broker-flag": { type: "string", multiple: true, default: [] },
    build: { type: "string", multiple: true, default: [] },
    profile: { type: "string" },
  },
});
if (flags.help === true) {
  process.stdout.write(help);
  process.exit(0);
}

const rounds = Number(flags.rounds ?? (flags.quick ? 1 : 3));
const measuredMs = Number(flags.seconds ?? (flags.quick ? 0.3 : 1.5)) * 1000;
const producers = Number(flags.producers ?? 16);
const inFlight = Number(flags["in-flight"] ?? 16);
const consumers = Number(flags.consumers ?? 4);
const peerNames = flags.quick || flags.part === "popmesh" ? [] : namesOf(flags.peers);
/** Messages that may wait between producers and consumers: enough that neither side waits for the other at once. */
const backlogTimes = 4;

const kib = 1024;
/** A row of popmesh's own table; what it does not name is as in the first. */
interface Case {
  readonly what: string;
  readonly kind?: MessageKind;
  readonly bodyBytes?: number;
  readonly queues?: number;
  readonly isAsync?: boolean;
  /** On a broker that keeps little: it removes the oldest of its log all the time, and writes into the removed files again. */
  readonly isKeepingLittle?: boolean;
  readonly producers?: number;
  readonly inFlight?: number;
}
const cases: readonly Case[] = [
  { what: "normal, 1 KiB, 8 queues" },
  ...Object.values(messageKinds)
    .filter((kind) => kind !== messageKinds.normal)
    .map((kind) => ({ what: kind.name, kind })),
  { what: "100 B", bodyBytes: 100 },
  { what: "64 KiB, 2 in flight each", bodyBytes: 64 * kib, inFlight: 2 },
  { what: "async flush", isAsync: true },
  { what: "48 MiB of log kept", isKeepingLittle: true },
  { what: "1 queue", queues: 1 },
  { what: "1 000 queues", queues: 1000 },
  { what: "1 message at a time", producers: 1, inFlight: 1 },
];

/** A log of three files, the least there is: at 30 MB of log per second two are removed and used again in every second. */
const keepsLittle = ["--segment-size", "16MiB", "--retention-bytes", "48MiB"];

const directory = mkdtempSync(join(flags.directory ?? tmpdir(), "popmesh-bench-broker-"));
const running: Server[] = [];
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void cleanUp().then(() => process.exit(1)));
}
try {
  for (const line of machineFacts(directory)) console.log(line);
  console.log(
    `${producers} producers x ${inFlight} sends in flight, ${consumers} consumers; ${rounds} rounds of ${measuredMs / 1000} s, medians; a message counts when its ack is confirmed.`,
  );
  console.log(
    "Latencies in ms; CPU in us per message; bytes per message: of the log and in all (the broker's own count), and what the kernel accounts, which is an upper bound.",
  );
  const nodeArgv = profilingFlags(flags.profile);
  const argv = flags["broker-flag"];
  const sync = new Popmesh({ flush: "sync", argv, nodeArgv });
  const syncServer = await start(sync);
  if (flags.part === "lanes") await laneTable(sync, syncServer);
  else if (flags.part !== "peers") {
    const async_ = new Popmesh({ flush: "async", argv });
    const little = new Popmesh({ flush: "sync", argv: [...argv, ...keepsLittle] });
    const started = async (contender: Popmesh) => ({ contender, server: await start(contender) });
    await ownTable({ contender: sync, server: syncServer }, await started(async_), await started(little));
  }
  if (flags.part !== "popmesh" && flags.part !== "lanes") await comparison(sync, syncServer);
} finally {
  await cleanUp();
}

async function cleanUp(): Promise<void> {
  await Promise.all(running.map((server) => server.stop()));
  rmSync(directory, { recursive: true, force: true });
}

async function start(contender: Contender): Promise<Server> {
  const server = await contender.start(join(directory, `${running.length}`));
  running.push(server);
  return server;
}

interface Started {
  readonly contender: Popmesh;
  readonly server: Server;
}

async function ownTable(sync: Started, async_: Started, little: Started): Promise<void> {
  const chosen = cases.filter(({ what }) => what.includes(flags.only));
  const figures = chosen.map((): LoadFigures[] => []);
  for (const { contender, server } of [sync, async_, little]) await warmUp(contender, server);
  for (let round = 0; round < rounds; round++) {
    for (const [i, entry] of chosen.entries()) {
      const { contender, server } = entry.isAsync === true ? async_ : entry.isKeepingLittle === true ? little : sync;
      contender.kind = entry.kind ?? messageKinds.normal;
      const workload = workloadOf(`own-${i}`, entry);
      figures[i]!.push(await measured(contender, server, workload, contender.kind));
    }
  }
  const rows = chosen.map(({ what }, i) => rowOf(what, figures[i]!));
  print(table("popmesh broker core", rows));
  const written = rows.find(({ what }) => what === cases[0]!.what)?.figures.written;
  if (written !== undefined) {
    console.log(
      `write amplification, 1 KiB normal messages sent and acked: ${(written.logBytes / kib).toFixed(2)} bytes of log and ` +
        `${(written.allBytes / kib).toFixed(2)} bytes in all per byte of body`,
    );
    console.log(
      `group commit there: ${(1 / written.batches).toFixed(1)} messages per write, ${(1 / written.syncs).toFixed(1)} per sync, ` +
        `${((written.syncSeconds / written.syncs) * 1000).toFixed(2)} ms per sync`,
    );
  }
}

/** What a lane rule costs a whole broker: the same load without one and with one of each kind. */
async function laneTable(contender: Popmesh, server: Server): Promise<void> {
  const chosen = laneKinds.filter(({ name }, i) => i === 0 || name.includes(flags.only));
  const figures = chosen.map((): LoadFigures[] => []);
  await warmUp(contender, server);
  for (let round = 0; round < rounds; round++) {
    // There and back, so that nobody is always behind the same.
    const order = [...chosen.entries()];
    for (const [i, kind] of round % 2 === 0 ? order : order.reverse()) {
      contender.kind = kind;
      figures[i]!.push(await measured(contender, server, workloadOf(`lanes-${i}`, {}), kind));
    }
  }
  const rows = chosen.map(({ name }, i) => rowOf(name, figures[i]!));
  print(table("lane rules, 1 KiB, 8 queues", rows));
  const [without, ...others] = rows;
  for (const row of others) {
    const over = (read: (row: Row) => readonly number[]): number =>
      median(read(row).map((value, round) => value / read(without!)[round]!));
    const added = median(row.sendRounds.map((ms, round) => ms - without!.sendRounds[round]!));
    console.log(
      `${row.what} over no rule, medians of the rounds: throughput ${over(({ rounds: rates }) => rates).toFixed(3)}, ` +
        `CPU ${over(({ cpuRounds }) => cpuRounds).toFixed(3)}, p50 of sends ${added < 0 ? "" : "+"}${added.toFixed(2)} ms`,
    );
  }
}

async function comparison(popmesh: Popmesh, popmeshServer: Server): Promise<void> {
  const found = peerNames.map(findPeer);
  const missing = found.filter((peer): peer is Missing => "howToInstall" in peer);
  const contenders: { readonly contender: Contender; readonly server: Server }[] = [
    { contender: popmesh, server: popmeshServer },
  ];
  for (const build of flags.build) {
    const other = new Popmesh({ flush: "sync", argv: flags["broker-flag"], build });
    contenders.push({ contender: other, server: await start(other) });
  }
  for (const peer of found) if ("start" in peer) contenders.push({ contender: peer, server: await start(peer) });
  popmesh.kind = messageKinds.normal;
  for (const { contender, server } of contenders) await warmUp(contender, server);
  const shapes: readonly Case[] = flags.quick
    ? [{ what: "1 KiB, 8 queues" }]
    : [
        { what: "1 KiB, 8 queues" },
        { what: "1 KiB, 1 queue", queues: 1 },
        { what: "1 KiB, 1 message at a time", queues: 1, producers: 1, inFlight: 1 },
      ];
  for (const [i, shape] of shapes.entries()) {
    const workload = workloadOf(`beside-${i}`, shape);
    const figures = contenders.map((): LoadFigures[] => []);
    for (let round = 0; round < rounds; round++) {
      for (const [at, { contender, server }] of contenders.entries()) {
        figures[at]!.push(await measured(contender, server, workload));
      }
    }
    const rows = contenders.map(({ contender }, at) => rowOf(contender.name, figures[at]!));
    print(table(shape.what, rows));
    printRatio(rows);
  }
  console.log("");
  for (const { contender } of contenders) console.log(`${contender.name}: ${contender.settings}`);
  for (const { name, howToInstall } of missing) console.log(`${name}: not installed: ${howToInstall}`);
}

/** Round by round, because the machine of round 1 is not that of round 3. */
function printRatio([own, ...others]: readonly Row[]): void {
  const best = others.reduce<Row | undefined>(
    (a, b) => (a === undefined || b.figures.perSecond > a.figures.perSecond ? b : a),
    undefined,
  );
  if (own === undefined || best === undefined) return;
  const ratios = own.rounds.map((rate, round) => (rate / best.rounds[round]!).toFixed(2));
  const ratio = (own.figures.perSecond / best.figures.perSecond).toFixed(2);
  console.log(`popmesh over the best of them (${best.what}): ${ratio}; by round ${ratios.join(" ")}`);
  for (const other of others) {
    const cpu = median(own.cpuRounds.map((us, round) => us / other.cpuRounds[round]!));
    console.log(`CPU of popmesh over that of ${other.what}, median of the rounds: ${cpu.toFixed(3)}`);
  }
}

/** A process that has just started is no measure: not compiled, no files made. */
async function warmUp(contender: Contender, server: Server): Promise<void> {
  await measured(contender, server, workloadOf("warm-up", {}));
}

async function measured(
  contender: Contender,
  server: Server,
  workload: Workload,
  kind: MessageKind = messageKinds.normal,
): Promise<LoadFigures> {
  try {
    return await runSlice(server, workload, sliceOf(workload, kind));
  } catch (error) {
    throw new Error(`${contender.name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

function workloadOf(name: string, entry: Omit<Case, "what">): Workload {
  return {
    name,
    bodyBytes: entry.bodyBytes ?? kib,
    queues: entry.queues ?? 8,
    producers: entry.producers ?? producers,
    inFlight: entry.inFlight ?? inFlight,
    consumers,
  };
}

function sliceOf(workload: Workload, kind: MessageKind): LoadSlice {
  const sends = workload.producers * workload.inFlight;
  const backlogMax = sends === 1 ? 1 : (kind.backlogMax ?? sends * backlogTimes);
  return { warmUpMs: measuredMs / 4, measuredMs, backlogMax };
}

function print(lines: readonly string[]): void {
  for (const line of lines) console.log(line);
}

function namesOf(list: string | undefined): PeerName[] {
  if (list === "none") return [];
  const names = list === undefined ? Object.keys(peers) : list.split(",");
  for (const name of names) if (!(name in peers)) throw new Error(`--peers: no peer is called "${name}"\n\n${help}`);
  return names as PeerName[];
}

/** "perf" keeps a map of the compiled code under /tmp, for Linux perf; anything else is a folder for V8's own profile. */
function profilingFlags(profile: string | undefined): string[] {
  if (profile === undefined) return [];
  if (profile === "gc") return ["--trace-gc", "--trace-gc-verbose"];
  return profile === "perf" ? ["--perf-basic-prof-only-functions"] : ["--cpu-prof", `--cpu-prof-dir=${profile}`];
}
