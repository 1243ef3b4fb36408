import { createInterface } from "node:readline";
import { Client, credentials } from "@grpc/grpc-js";
import { register } from "@grpc/grpc-js-xds";

/**
 * A foreign client in a process of its own (its bootstrap, from GRPC_XDS_BOOTSTRAP_CONFIG, counts once per process): calls the
 * greeter behind the target it was started with for every line on standard input, and prints one line of JSON for each.
 */
const callMsMax = 5_000;
const [target = ""] = process.argv.slice(2);

register();
const client = new Client(target, credentials.createInsecure());
const same = (bytes: Buffer) => bytes;
for await (const _ of createInterface({ input: process.stdin })) {
  const answer = await new Promise((resolve) => {
    const options = { deadline: Date.now() + callMsMax };
    client.makeUnaryRequest("/popmesh.test.Greeter/Greet", same, same, Buffer.alloc(0), options, (error, bytes) =>
      resolve(error === null ? { greeter: bytes?.toString() } : { code: error.code, details: error.details }),
    );
  });
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
client.close();
