import { Code } from "../../proto/code.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { Catalog } from "../catalog/catalog.ts";
import { BrokerLink } from "./broker-link.ts";

/** What one broker said to a call that went to several. */
export type BrokerAnswer<R> =
  | { readonly broker: string; readonly ok: true; readonly result: R }
  | { readonly broker: string; readonly ok: false; readonly error: MeshError };

/** A look-up reads a few records; an order waits for one sync. */
const timeoutMsDefault = 10_000;

/** Operator calls to the registered brokers, over the same frame port that the sidecars use. */
export class BrokerOperator {
  readonly #catalog: Catalog;
  readonly #peerName: string;
  readonly #clock: Clock;
  readonly #links = new Map<string, BrokerLink>();

  constructor(catalog: Catalog, peerName: string, clock: Clock) {
    this.#catalog = catalog;
    this.#peerName = peerName;
    this.#clock = clock;
  }

  /** Names of the brokers that can be asked, in order. */
  get brokerNames(): string[] {
    return [...this.#catalog.tables.broker.values()]
      .filter(({ state }) => state !== "stopped")
      .map(({ name }) => name)
      .sort();
  }

  /** Calls a method of one broker. Rejects with `MeshError`. */
  async call<R>(brokerName: string, method: string, parameters: object, timeoutMs = timeoutMsDefault): Promise<R> {
    return (await this.#link(brokerName).call(method, parameters, timeoutMs)) as R;
  }

  /** The same with the failure as a value. */
  async ask<R extends object>(
    broker: string,
    method: string,
    parameters: object,
    timeoutMs = timeoutMsDefault,
  ): Promise<BrokerAnswer<R>> {
    try {
      return { broker, ok: true, result: await this.call<R>(broker, method, parameters, timeoutMs) };
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      return { broker, ok: false, error };
    }
  }

  /** Calls all brokers at once; one that cannot be asked does not spoil the answers of the others. */
  callAll<R extends object>(
    method: string,
    parameters: object,
    timeoutMs = timeoutMsDefault,
  ): Promise<BrokerAnswer<R>[]> {
    return Promise.all(this.brokerNames.map((broker) => this.ask<R>(broker, method, parameters, timeoutMs)));
  }

  close(): void {
    for (const link of [...this.#links.values()]) link.close();
  }

  #link(brokerName: string): BrokerLink {
    const known = this.#links.get(brokerName);
    if (known !== undefined) return known;
    const broker = this.#catalog.tables.broker.get(brokerName);
    if (broker === undefined) throw new MeshError(Code.NotFound, `broker "${brokerName}" is not known`);
    const at = { brokerName, host: broker.host, port: broker.port };
    const link = new BrokerLink(at, this.#peerName, this.#clock, () => {
      if (this.#links.get(brokerName) === link) this.#links.delete(brokerName);
    });
    this.#links.set(brokerName, link);
    return link;
  }
}
