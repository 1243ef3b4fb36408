import { execFileSync, spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import type { Contender, Missing } from "./contender.ts";
import { NatsJetStream } from "./nats-jetstream.ts";
import { RabbitMqQuorum } from "./rabbitmq-quorum.ts";
import { RedisStreams } from "./redis-streams.ts";

interface Peer {
  readonly name: string;
  readonly howToInstall: string;
  /** Undefined when it is not on this machine. */
  find(): Contender | undefined;
}

/** The systems beside which popmesh is measured, and where they come from. */
export const peers = {
  nats: {
    name: "NATS JetStream",
    howToInstall: "go install github.com/nats-io/nats-server/v2@latest (Debian's 2.9 lacks sync_interval: always)",
    find: () => {
      const command = executable("nats-server", goFolders());
      if (command === undefined) return undefined;
      const version = output(command, ["--version"]);
      return hasSyncAlways(version) ? new NatsJetStream(command, version) : undefined;
    },
  },
  redis: {
    name: "Redis Streams",
    howToInstall: "apt-get install redis-server",
    find: () => {
      const command = executable("redis-server");
      if (command === undefined) return undefined;
      return new RedisStreams(command, `redis ${/v=(\S+)/.exec(output(command, ["--version"]))?.[1]}`);
    },
  },
  rabbitmq: {
    name: "RabbitMQ quorum",
    howToInstall: "apt-get install rabbitmq-server",
    find: () => {
      // Not /usr/sbin/rabbitmq-server: Debian's wrapper runs as another user, from a directory of its own.
      const command = executable("rabbitmq-server", ["/usr/lib/rabbitmq/bin"], false);
      if (command === undefined || executable("epmd") === undefined) return undefined;
      const { stdout } = spawnSync("dpkg-query", ["-W", "rabbitmq-server"], { encoding: "utf8" });
      return new RabbitMqQuorum(command, (stdout ?? "").trim().replace("\t", " ") || "rabbitmq-server");
    },
  },
} satisfies Record<string, Peer>;

export type PeerName = keyof typeof peers;

export function findPeer(name: PeerName): Contender | Missing {
  const peer: Peer = peers[name];
  return peer.find() ?? { name: peer.name, howToInstall: peer.howToInstall };
}

function executable(name: string, folders: readonly string[] = [], alsoPath = true): string | undefined {
  const path = alsoPath ? (process.env["PATH"] ?? "").split(delimiter) : [];
  return [...folders, ...path, ...(alsoPath ? ["/usr/sbin", "/usr/local/sbin"] : [])]
    .map((folder) => join(folder, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Where `go install` puts what it builds. */
function goFolders(): string[] {
  const { GOBIN, GOPATH, HOME } = process.env;
  const folders = [GOBIN, GOPATH && join(GOPATH, "bin"), HOME && join(HOME, "go/bin")];
  return folders.filter((folder): folder is string => folder !== undefined && folder !== "");
}

function output(command: string, argv: readonly string[]): string {
  return execFileSync(command, argv, { encoding: "utf8" }).trim();
}

/** `sync_interval: always` came with nats-server 2.10. */
function hasSyncAlways(version: string): boolean {
  const [, major = 0, minor = 0] = /v?(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(major) > 2 || (Number(major) === 2 && Number(minor) >= 10);
}
