import { Code } from "../../proto/code.ts";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { ClusterManager } from "../cluster/cluster-manager.ts";
import { clusterNameOf } from "../cluster/cluster-snapshot.ts";
import type { ConfigurationOnDemand, Found } from "../route/configuration-on-demand.ts";
import type { Lookup, RouteTable } from "../route/route-table.ts";
import type { GroupPolicy, TopicRoute } from "../route/topic-route.ts";
import type { MeshConfig } from "./mesh-config.ts";
import type { EnsureResult, RegistryClient } from "./registry-client.ts";

/** Below the 3 s that the SDKs give a call. */
const waitMsMax = 2_000;
/** An answer must still reach the client before its deadline. */
const answerReserveMs = 100;
const waitersPerNameMax = 1_000;
const waitersMax = 10_000;
/** A refused or failed creation is not asked for again at once. */
const refusalKeptMs = 1_000;
const refusalsKeptMax = 1_000;

interface Waiter {
  /** Looks again; true when the waiter has its answer. */
  readonly step: () => boolean;
  readonly timer: Timer;
}

/**
 * Lets calls wait for configuration that is not here yet. Waiters for one name share one question; each new snapshot lets them
 * look again. Where the policy of a namespace allows it, a topic or group that does not exist is created.
 */
export class OnDemand implements ConfigurationOnDemand {
  readonly #config: MeshConfig;
  readonly #routes: RouteTable;
  readonly #clusters: ClusterManager;
  readonly #registry: RegistryClient;
  readonly #clock: Clock;
  readonly #waiters = new Map<string, Set<Waiter>>();
  #waiterCount = 0;
  /** Creations that the control plane refused a moment ago. */
  readonly #refusals = new Map<string, { readonly failure: Found<never>; readonly untilMs: number }>();
  /** Names that the control plane says exist now; their resource is on its way. */
  readonly #created = new Set<string>();

  constructor(
    config: MeshConfig,
    routes: RouteTable,
    clusters: ClusterManager,
    registry: RegistryClient,
    clock: Clock,
  ) {
    this.#config = config;
    this.#routes = routes;
    this.#clusters = clusters;
    this.#registry = registry;
    this.#clock = clock;
  }

  get waiterCount(): number {
    return this.#waiterCount;
  }

  /** Called after each new snapshot. */
  recheck(): void {
    for (const [name, waiters] of [...this.#waiters]) {
      for (const waiter of [...waiters]) if (waiter.step()) this.#forget(name, waiter);
    }
  }

  /** `name` is "<namespace>/<topic>". `done` is called once, possibly before this returns, before `deadlineMs`. */
  topic(name: string, deadlineMs: number, done: (found: Found<TopicRoute>) => void): void {
    this.#config.wantTopic(name);
    this.#resolve<TopicRoute>({
      key: `topic ${name}`,
      deadlineMs,
      done,
      look: () => this.#lookAt("topic", name, this.#routes.topic(name)),
      giveUp: () => {
        const partial = this.#config.partialTopic(name);
        return partial === undefined ? notAnswered("topic", name) : { ok: true, value: partial };
      },
    });
  }

  /** `name` is "<namespace>/<group>". The same as for a topic. */
  group(name: string, deadlineMs: number, done: (found: Found<GroupPolicy>) => void): void {
    this.#config.wantGroup(name);
    this.#resolve<GroupPolicy>({
      key: `group ${name}`,
      deadlineMs,
      done,
      look: () => this.#lookAt("group", name, this.#routes.group(name)),
      giveUp: () => notAnswered("consumer group", name),
    });
  }

  /** Waits until the broker group of a receipt is known. */
  broker(brokerName: string, deadlineMs: number, done: (found: Found<undefined>) => void): void {
    this.#config.wantBroker(brokerName);
    const cluster = clusterNameOf(brokerName);
    this.#resolve<undefined>({
      key: `broker ${brokerName}`,
      deadlineMs,
      done,
      look: () => {
        if (this.#clusters.byBrokerName(brokerName) !== undefined) return { ok: true, value: undefined };
        if (!this.#config.isClusterKnown(cluster)) return undefined;
        const isAbsent = this.#config.clusters.entries.get(cluster)?.value === undefined;
        if (isAbsent && this.#config.ads.isUp) return unknownBroker(brokerName);
        return isAbsent ? undefined : brokerAway(brokerName);
      },
      giveUp: () => brokerAway(brokerName),
    });
  }

  /** Undefined: wait on. */
  #lookAt<T>(kind: "topic" | "group", name: string, lookup: Lookup<T>): Found<T> | undefined {
    if (lookup.kind === "present") return { ok: true, value: lookup.value };
    if (lookup.kind === "unknown") return undefined;
    if (lookup.kind === "refused") {
      return { ok: false, code: Code.Forbidden, message: `${kind} ${name} cannot be served here: ${lookup.reason}` };
    }
    return this.#create(kind, name);
  }

  /** It does not exist. Creates it where that is allowed. */
  #create(kind: "topic" | "group", name: string): Found<never> | undefined {
    const key = `${kind} ${name}`;
    if (this.#created.has(key)) return undefined;
    const refusal = this.#refusals.get(key);
    if (refusal !== undefined && refusal.untilMs > this.#clock.monotonicMs()) return refusal.failure;
    const namespace = name.slice(0, name.indexOf("/"));
    this.#config.wantNamespace(namespace);
    const policy = this.#routes.namespace(namespace);
    if (policy.kind === "unknown") return undefined;
    const isAllowed =
      policy.kind === "present" && (kind === "topic" ? policy.value.autoCreateTopics : policy.value.autoCreateGroups);
    if (!isAllowed) return doesNotExist(kind, name);
    const asked = kind === "topic" ? this.#registry.ensureTopic(name) : this.#registry.ensureGroup(name);
    void asked.then((result) => this.#onEnsured(kind, name, result));
    return undefined;
  }

  #onEnsured(kind: "topic" | "group", name: string, result: EnsureResult): void {
    const key = `${kind} ${name}`;
    if (result.kind === "exists") {
      this.#created.add(key);
      this.#clock.after(waitMsMax, () => this.#created.delete(key));
    } else {
      const failure: Found<never> =
        result.kind === "refused"
          ? { ok: false, code: result.code, message: result.message }
          : { ok: false, code: Code.ProxyTimeout, message: `${name} could not be created: ${result.message}` };
      if (this.#refusals.size >= refusalsKeptMax) this.#refusals.clear();
      this.#refusals.set(key, { failure, untilMs: this.#clock.monotonicMs() + refusalKeptMs });
    }
    const waiters = this.#waiters.get(key);
    for (const waiter of [...(waiters ?? [])]) if (waiter.step()) this.#forget(key, waiter);
  }

  #resolve<T>(question: {
    readonly key: string;
    readonly deadlineMs: number;
    readonly done: (found: Found<T>) => void;
    readonly look: () => Found<T> | undefined;
    readonly giveUp: () => Found<T>;
  }): void {
    const { key, done, look } = question;
    const found = look();
    if (found !== undefined) {
      done(found);
      return;
    }
    let waiters = this.#waiters.get(key);
    if (this.#waiterCount >= waitersMax || (waiters?.size ?? 0) >= waitersPerNameMax) {
      done({ ok: false, code: Code.TooManyRequests, message: `too many calls wait for the configuration of ${key}` });
      return;
    }
    const nowMs = this.#clock.monotonicMs();
    const waitMs = Math.max(0, Math.min(waitMsMax, question.deadlineMs - nowMs - answerReserveMs));
    const waiter: Waiter = {
      step: () => {
        const found = look();
        if (found === undefined) return false;
        waiter.timer.cancel();
        done(found);
        return true;
      },
      timer: this.#clock.after(Math.ceil(waitMs), () => {
        this.#forget(key, waiter);
        done(question.giveUp());
      }),
    };
    if (waiters === undefined) this.#waiters.set(key, (waiters = new Set()));
    waiters.add(waiter);
    this.#waiterCount++;
  }

  #forget(key: string, waiter: Waiter): void {
    const waiters = this.#waiters.get(key);
    if (waiters === undefined || !waiters.delete(waiter)) return;
    this.#waiterCount--;
    if (waiters.size === 0) this.#waiters.delete(key);
  }
}

function doesNotExist(kind: "topic" | "group", name: string): Found<never> {
  const slash = name.indexOf("/");
  const namespace = name.slice(0, slash);
  const plain = name.slice(slash + 1);
  const where = namespace === "default" ? "" : ` --namespace ${namespace}`;
  return kind === "topic"
    ? {
        ok: false,
        code: Code.TopicNotFound,
        message:
          `topic "${plain}" does not exist in namespace "${namespace}"; ` +
          `create it with: popmesh topic create ${plain} --type normal${where} (types: normal, fifo, delay, transaction, mixed)`,
      }
    : {
        ok: false,
        code: Code.ConsumerGroupNotFound,
        message:
          `consumer group "${plain}" does not exist in namespace "${namespace}"; ` +
          `create it with: popmesh group create ${plain}${where}`,
      };
}

function notAnswered(what: string, name: string): Found<never> {
  return {
    ok: false,
    code: Code.ProxyTimeout,
    message: `the control plane has not answered in time about ${what} ${name}; try again, and check that it runs`,
  };
}

function unknownBroker(brokerName: string): Found<never> {
  return {
    ok: false,
    code: Code.InvalidReceiptHandle,
    message: `the receipt handle names broker "${brokerName}", which does not exist in this mesh`,
  };
}

function brokerAway(brokerName: string): Found<never> {
  return { ok: false, code: Code.ProxyTimeout, message: `broker "${brokerName}" cannot be reached now; try again` };
}
