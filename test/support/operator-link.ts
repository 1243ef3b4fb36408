import { BrokerLink } from "../../control-plane/operation/broker-link.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { testBrokerName } from "./start-broker.ts";

/** Operator calls to a test's broker, over its real frame port. */
export class OperatorLink {
  readonly #link: BrokerLink;

  constructor(port: number) {
    const at = { brokerName: testBrokerName, host: "127.0.0.1", port };
    this.#link = new BrokerLink(at, "operator-of-a-test", new NodeClock(), () => {});
  }

  /** Rejects with the broker's refusal. */
  async call<R>(method: string, parameters: object): Promise<R> {
    return (await this.#link.call(method, parameters, 20_000)) as R;
  }

  close(): void {
    this.#link.close();
  }
}
