import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { FrameFlag, FrameType } from "../../sidecar/listener/http2/frame.ts";
import { EchoEngine, EchoPath } from "../unit/sidecar/listener/http2/echo-engine.ts";
import { callFields, frame, grpcMessage, headersFrame, RawClient } from "../unit/sidecar/listener/http2/raw-client.ts";

const seconds = 60;

/** In real time, what the deadline tests do with a clock of their own: nothing in Node or the kernel ends such a stream. */
describe("a minute on the engine", () => {
  const timeouts = ["31536000M", "525600M", "99999999H"];

  it(`bidi streams with grpc-timeout ${timeouts.join(", ")} stay open, with a keep-alive ping every second`, async () => {
    const engine = await EchoEngine.start();
    const client = await RawClient.connect(engine.port);
    const streams = timeouts.map((timeout, i) => ({ id: 1 + 2 * i, timeout }));
    try {
      for (const { id, timeout } of streams) {
        client.send(headersFrame(id, callFields(EchoPath.Bidi, [["grpc-timeout", timeout]])));
      }
      const pings = () => client.frames.filter(({ type }) => type === FrameType.Ping).length;
      for (let second = 1; second <= seconds; second++) {
        client.send(frame(FrameType.Ping, 0, 0, Buffer.alloc(8, second)));
        await client.until("the ping's answer", () => pings() === second);
        if (second % 20 === 0) {
          for (const { id } of streams) client.send(frame(FrameType.Data, 0, id, grpcMessage(`second ${second}`)));
          await client.until("the answers", () =>
            streams.every(({ id }) => client.messages(id).length === second / 20),
          );
        }
        await pause(1000);
      }
      for (const { id } of streams) {
        client.send(frame(FrameType.Data, FrameFlag.EndStream, id, ""));
        assert.equal(await client.status(id), "0");
      }
      assert.deepEqual(engine.cancelled, []);
    } finally {
      client.close();
      engine.stop();
    }
  });
});
