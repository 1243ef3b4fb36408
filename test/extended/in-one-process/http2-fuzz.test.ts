import assert from "node:assert/strict";
import { type Randomness, randomIndex } from "../../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../../proto/runtime/seeded-randomness.ts";
import { connectionPreface, FrameFlag, FrameType } from "../../../sidecar/listener/http2/frame.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { testSeed, withSeed } from "../../support/test-seed.ts";
import { EchoEngine, EchoPath } from "../../unit/sidecar/listener/http2/echo-engine.ts";
import {
  callFields,
  frame,
  grpcMessage,
  headerBlock,
  wholeCall,
} from "../../unit/sidecar/listener/http2/raw-client.ts";
import { WiredConnection } from "../../unit/sidecar/listener/http2/wired-connection.ts";

const conversations = 30_000;
const framesMax = 30;
/** No read may hold up the others for longer; generous, for the machine is shared. */
const readMsMax = 500;

const paths = Object.values(EchoPath).filter((path) => path !== EchoPath.Later && path !== EchoPath.Pour);
const begin = Buffer.concat([connectionPreface, frame(FrameType.Settings, 0, 0)]);

/** A frame as a broken or hostile client might send it: often nearly right, so that it gets far. */
function anyFrame(randomness: Randomness, nextId: number): Buffer {
  const pick = <T>(items: readonly T[]): T => items[randomIndex(randomness, items.length)]!;
  const streamId = pick([
    nextId,
    nextId,
    nextId,
    nextId,
    Math.max(1, nextId - 2),
    Math.max(1, nextId - 2),
    1,
    0,
    2,
    0x7fff_ffff,
  ]);
  const noise = randomness.bytes(randomIndex(randomness, 40));
  switch (randomIndex(randomness, 8)) {
    case 0:
    case 6:
    case 7:
      return wholeCall(streamId | 1, pick(paths), noise);
    case 1:
      return frame(FrameType.Headers, pick([0, 1, 4, 5, 0x2c]), streamId, headerBlock(callFields(pick(paths))));
    case 2:
      return frame(FrameType.Headers, pick([4, 5]), streamId, noise);
    case 3:
      return frame(FrameType.Data, pick([0, 0, 1, FrameFlag.Padded]), streamId, pick([noise, grpcMessage(noise)]));
    case 4:
      return frame(
        randomIndex(randomness, 11),
        pick([0, 1, 4, 8]),
        pick([0, streamId]),
        noise.subarray(0, pick([0, 4, 5, 6, 8])),
      );
    default:
      return frame(randomIndex(randomness, 256), randomIndex(randomness, 256), streamId, noise);
  }
}

describe("the HTTP/2 engine under fuzz", () => {
  it(`keeps its head in ${conversations} conversations with broken clients`, () => {
    withSeed((seed) => {
      const randomness = new SeededRandomness(seed);
      const engine = new EchoEngine({ clock: new ManualClock() });
      let answered = 0;
      let ended = 0;
      let slowestMs = 0;
      for (let i = 0; i < conversations; i++) {
        const wired = new WiredConnection(engine);
        wired.read(begin);
        const count = 1 + randomIndex(randomness, framesMax);
        for (let k = 0; k < count && !wired.connection.isOver; k++) {
          const bytes = anyFrame(randomness, (wired.connection.lastStreamId + 1) | 1);
          // One in four is damaged by one byte.
          if (randomIndex(randomness, 4) === 0)
            bytes[randomIndex(randomness, bytes.length)] = randomness.uint32() & 0xff;
          const before = process.cpuUsage();
          wired.read(bytes);
          const { user, system } = process.cpuUsage(before);
          slowestMs = Math.max(slowestMs, (user + system) / 1_000);
        }
        if (wired.connection.isOver) ended++;
        if (wired.written.includes("application/grpc") || wired.connection.lastStreamId > 0) answered++;
        wired.close();
        engine.parked.length = 0;
        engine.cancelled.length = 0;
        assert.equal(wired.connection.streamCount, 0);
      }
      assert.equal(engine.server.inflight.used, 0);
      assert.equal(engine.server.wheel.count, 0);
      // The fuzz got beyond the first frame, and met the engine's refusals.
      assert.ok(answered > conversations / 3, `only ${answered} conversations opened a call`);
      assert.ok(ended > conversations / 10, `only ${ended} conversations were ended by the engine`);
      assert.ok(slowestMs < readMsMax, `a read took ${slowestMs.toFixed(0)} ms of the processor`);
    }, testSeed);
  });
});
