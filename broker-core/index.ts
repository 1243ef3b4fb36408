/** The public door of the broker core, for embedders and examples. */
export { type Broker, type BrokerDeps, startBroker } from "./broker.ts";
export { type BrokerConfig, brokerHelp, readBrokerConfig } from "./config.ts";
export { NodeStorage } from "./storage/node-storage.ts";
export { StorageError } from "./storage/storage.ts";
