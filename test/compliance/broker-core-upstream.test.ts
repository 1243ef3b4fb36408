import { rmSync } from "node:fs";
import { BrokerUnderTest, connectUpstream } from "../support/start-broker.ts";
import { UpstreamClient } from "../support/upstream-client.ts";
import { type UpstreamSubject, upstreamSuite } from "./upstream-suite.ts";

upstreamSuite("The broker core behind frames", async (): Promise<UpstreamSubject> => {
  let broker = await BrokerUnderTest.start();
  const { port, dataDirectory } = broker;
  const clients: UpstreamClient[] = [];
  return {
    connect: () => {
      const client = new UpstreamClient(connectUpstream(port));
      clients.push(client);
      return client;
    },
    restart: async () => {
      await broker.stop({ abruptly: true, keepDirectory: true });
      broker = await BrokerUnderTest.start({ dataDirectory, port });
    },
    stop: async () => {
      await Promise.all(clients.map(({ upstream }) => upstream.close(0)));
      await broker.stop();
      rmSync(dataDirectory, { recursive: true, force: true });
    },
  };
});
