import type { Command } from "commander";
import { stringify } from "yaml";
import { manifestApiVersion } from "../resource/manifest-version.ts";
import { ApiClient, type ServerOption, withServer } from "./api-client.ts";
import { printWarnings } from "./apply.ts";
import { wholeNumber } from "./argument.ts";
import { print } from "./output.ts";

interface CreateOptions extends ServerOption {
  readonly topicsMax?: string;
  readonly groupsMax?: string;
  readonly queuesMax?: string;
  readonly maxMessageSize?: string;
  readonly autoCreate?: boolean;
}

/** `popmesh namespace create NAME`: also changes one that exists, in what is said. */
export function register(program: Command): void {
  const namespace = program.command("namespace").description("create namespaces");
  withServer(
    namespace
      .command("create")
      .argument("<name>")
      .description("create a namespace, or change what is said of one")
      .option("--topics-max <count>", "how many topics it may hold")
      .option("--groups-max <count>", "how many consumer groups it may hold")
      .option("--queues-max <count>", "how many queues its topics may have together")
      .option("--max-message-size <size>", "longest body of a message, such as 256KiB")
      .option("--auto-create", "create topics and groups on first use")
      .option("--no-auto-create", "do not"),
  ).action(async (name: string, options: CreateOptions) => {
    const { topicsMax, groupsMax, queuesMax, maxMessageSize, autoCreate } = options;
    const quotas = {
      ...(topicsMax === undefined ? {} : { topics: wholeNumber(topicsMax) }),
      ...(groupsMax === undefined ? {} : { groups: wholeNumber(groupsMax) }),
      ...(queuesMax === undefined ? {} : { queues: wholeNumber(queuesMax) }),
    };
    const spec = {
      ...(Object.keys(quotas).length === 0 ? {} : { quotas }),
      ...(maxMessageSize === undefined ? {} : { maxMessageSize }),
      ...(autoCreate === undefined ? {} : { autoCreateTopics: autoCreate, autoCreateGroups: autoCreate }),
    };
    const manifest = { apiVersion: manifestApiVersion, kind: "Namespace", metadata: { name }, spec };
    const [applied] = await new ApiClient(options).apply(stringify(manifest));
    const outcome = applied?.outcome === "unchanged" ? "is as it was" : applied?.outcome;
    print(`namespace "${name}" ${outcome}`);
    printWarnings(applied ?? {});
  });
}
