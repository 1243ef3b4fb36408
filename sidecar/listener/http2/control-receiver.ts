import type { Connection } from "./connection.ts";
import {
  FrameFlag,
  FrameType,
  frameBytesCeiling,
  frameBytesDefault,
  frameHeaderBytes,
  Http2Error,
  readUint31,
  readUint32,
  Setting,
  windowBytesCeiling,
  windowBytesDefault,
  writeFrameHeader,
  writeUint32,
} from "./frame.ts";
import { Counted } from "./limits.ts";
import { headerTableBytes } from "./request-receiver.ts";

/** Debug text of a GOAWAY, at most. */
const goAwayTextBytesMax = 256;

/** Our PINGs carry this many bytes and a mark that tells which one was answered. */
const pingBytes = 8;
const silenceMark = 1;
const drainMark = 2;

/** A drain waits at most so long for the answer to its PING before the final GOAWAY. */
const drainPingMsMax = 1000;

/** SETTINGS, PING, GOAWAY and PRIORITY of one connection, and the connection-wide frames this side sends. */
export class ControlReceiver {
  readonly #connection: Connection;
  /** The client's first SETTINGS came. */
  hasPeerSettings = false;
  /** The client acknowledged ours. */
  isSettled = false;
  readonly #openedMs: number;
  #lastReadMs: number;
  #pingSentMs = Number.POSITIVE_INFINITY;
  #drainStartedMs = Number.POSITIVE_INFINITY;
  #isDrained = false;
  #peerGoesAway = false;
  #writesSeen = 0;
  #writeProgressMs = 0;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#openedMs = connection.nowMs;
    this.#lastReadMs = connection.nowMs;
  }

  onRead(nowMs: number): void {
    this.#lastReadMs = nowMs;
    this.#pingSentMs = Number.POSITIVE_INFINITY;
  }

  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case FrameType.Settings:
        this.#onSettings(flags, streamId, bytes, start, end);
        break;
      case FrameType.Ping:
        this.#onPing(flags, streamId, bytes, start, end);
        break;
      case FrameType.GoAway:
        this.#onGoAway(streamId, end - start);
        break;
      case FrameType.Priority:
        this.#onPriority(streamId, bytes, start, end);
        break;
      case FrameType.PushPromise:
        this.#connection.fail(Http2Error.ProtocolError, "a client must not send PUSH_PROMISE");
        break;
      default:
        // Unknown frames are to be ignored, but not for ever.
        this.#countPriority();
    }
  }

  #onSettings(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    const connection = this.#connection;
    if (streamId !== 0) {
      connection.fail(Http2Error.ProtocolError, `SETTINGS on stream ${streamId}`);
      return;
    }
    if ((flags & FrameFlag.Ack) !== 0) {
      if (end !== start) {
        connection.fail(Http2Error.FrameSizeError, "SETTINGS acknowledgement with a payload");
        return;
      }
      this.isSettled = true;
      return;
    }
    if ((end - start) % 6 !== 0) {
      connection.fail(Http2Error.FrameSizeError, "SETTINGS not in entries of 6 bytes");
      return;
    }
    if (connection.seconds.add(Counted.Settings) > connection.host.limits.settingsPerSecondMax) {
      connection.cut("settings", "too many SETTINGS frames");
      return;
    }
    this.hasPeerSettings = true;
    for (let at = start; at < end && !connection.isOver; at += 6) {
      this.#onSetting((bytes[at]! << 8) | bytes[at + 1]!, readUint32(bytes, at + 2));
    }
    if (connection.isOver) return;
    const at = connection.output.reserve(frameHeaderBytes);
    connection.output.advance(writeFrameHeader(connection.output.slab, at, 0, FrameType.Settings, FrameFlag.Ack, 0));
    connection.pumpQueued();
  }

  #onSetting(setting: number, value: number): void {
    const connection = this.#connection;
    switch (setting) {
      case Setting.HeaderTableSize:
        connection.responses.setPeerTableBytes(value);
        break;
      case Setting.EnablePush:
        if (value > 1) connection.fail(Http2Error.ProtocolError, `SETTINGS_ENABLE_PUSH is ${value}`);
        break;
      case Setting.InitialWindowSize: {
        if (value > windowBytesCeiling) {
          connection.fail(Http2Error.FlowControlError, `SETTINGS_INITIAL_WINDOW_SIZE is ${value}`);
          return;
        }
        const delta = value - connection.peerStreamWindow;
        connection.peerStreamWindow = value;
        if (!connection.shiftStreamWindows(delta)) {
          connection.fail(Http2Error.FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE lifts a window above 2^31-1");
        }
        break;
      }
      case Setting.MaxFrameSize:
        if (value < frameBytesDefault || value > frameBytesCeiling) {
          connection.fail(Http2Error.ProtocolError, `SETTINGS_MAX_FRAME_SIZE is ${value}`);
          return;
        }
        connection.peerFrameBytes = value;
        break;
    }
  }

  #onPing(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    const connection = this.#connection;
    if (streamId !== 0) {
      connection.fail(Http2Error.ProtocolError, `PING on stream ${streamId}`);
      return;
    }
    if (end - start !== pingBytes) {
      connection.fail(Http2Error.FrameSizeError, "PING without exactly 8 bytes");
      return;
    }
    if ((flags & FrameFlag.Ack) !== 0) {
      if (bytes[start] === drainMark) this.#finishDrain();
      return;
    }
    if (connection.seconds.add(Counted.Ping) > connection.host.limits.pingsPerSecondMax) {
      connection.cut("ping", "too many PING frames");
      return;
    }
    const { output } = connection;
    const at = output.reserve(frameHeaderBytes + pingBytes);
    const to = writeFrameHeader(output.slab, at, pingBytes, FrameType.Ping, FrameFlag.Ack, 0);
    bytes.copy(output.slab, to, start, end);
    output.advance(to + pingBytes);
  }

  #onGoAway(streamId: number, payloadBytes: number): void {
    const connection = this.#connection;
    if (streamId !== 0) {
      connection.fail(Http2Error.ProtocolError, `GOAWAY on stream ${streamId}`);
      return;
    }
    if (payloadBytes < 8) {
      connection.fail(Http2Error.FrameSizeError, "GOAWAY with less than 8 bytes");
      return;
    }
    this.#peerGoesAway = true;
    if (connection.streamCount === 0) connection.close();
  }

  #onPriority(streamId: number, bytes: Buffer, start: number, end: number): void {
    const connection = this.#connection;
    if (streamId === 0) {
      connection.fail(Http2Error.ProtocolError, "PRIORITY on stream 0");
      return;
    }
    const isWrongSize = end - start !== 5;
    if (isWrongSize || readUint31(bytes, start) === streamId) {
      const code = isWrongSize ? Http2Error.FrameSizeError : Http2Error.ProtocolError;
      if (streamId <= connection.lastStreamId) {
        connection.streamError(streamId, code);
        return;
      }
      // An idle stream cannot be reset.
      connection.fail(code, `PRIORITY of stream ${streamId} is malformed`);
      return;
    }
    this.#countPriority();
  }

  #countPriority(): void {
    const connection = this.#connection;
    if (connection.seconds.add(Counted.Priority) > connection.host.limits.prioritiesPerSecondMax) {
      connection.cut("priority", "too many PRIORITY or unknown frames");
    }
  }

  /** Our SETTINGS, and the connection window that goes with them. */
  sendSettings(): void {
    const { output, host } = this.#connection;
    const { limits } = host;
    const settings: readonly (readonly [number, number])[] = [
      [Setting.HeaderTableSize, headerTableBytes],
      [Setting.MaxConcurrentStreams, limits.streamsMax],
      [Setting.InitialWindowSize, limits.streamWindowBytes],
      [Setting.MaxFrameSize, limits.frameBytesMax],
      [Setting.MaxHeaderListSize, limits.headerListBytesMax],
    ];
    let at = output.reserve(frameHeaderBytes + settings.length * 6);
    at = writeFrameHeader(output.slab, at, settings.length * 6, FrameType.Settings, 0, 0);
    for (const [setting, value] of settings) {
      output.slab[at] = setting >>> 8;
      output.slab[at + 1] = setting;
      at = writeUint32(output.slab, at + 2, value);
    }
    output.advance(at);
    if (limits.connectionWindowBytes > windowBytesDefault) {
      this.sendWindowUpdate(0, limits.connectionWindowBytes - windowBytesDefault);
    }
  }

  sendWindowUpdate(streamId: number, bytes: number): void {
    this.#sendNumber(FrameType.WindowUpdate, streamId, bytes);
  }

  sendReset(streamId: number, code: Http2Error): void {
    this.#sendNumber(FrameType.RstStream, streamId, code);
  }

  #sendNumber(type: number, streamId: number, value: number): void {
    const { output } = this.#connection;
    const at = output.reserve(frameHeaderBytes + 4);
    output.advance(writeUint32(output.slab, writeFrameHeader(output.slab, at, 4, type, 0, streamId), value));
  }

  sendGoAway(lastStreamId: number, code: Http2Error, reason: string): void {
    const { output } = this.#connection;
    const text = Buffer.from(reason).subarray(0, goAwayTextBytesMax);
    let at = output.reserve(frameHeaderBytes + 8 + text.length);
    at = writeFrameHeader(output.slab, at, 8 + text.length, FrameType.GoAway, 0, 0);
    at = writeUint32(output.slab, writeUint32(output.slab, at, lastStreamId), code);
    output.advance(at + text.copy(output.slab, at));
  }

  #sendPing(mark: number): void {
    const { output } = this.#connection;
    const at = output.reserve(frameHeaderBytes + pingBytes);
    const to = writeFrameHeader(output.slab, at, pingBytes, FrameType.Ping, 0, 0);
    output.slab.fill(0, to, to + pingBytes);
    output.slab[to] = mark;
    output.advance(to + pingBytes);
  }

  /**
   * Starts an orderly end (RFC 9113 §6.8): a GOAWAY that only announces it, and after a round trip the final one, so that
   * no call that was under way is refused.
   */
  startDrain(): void {
    const connection = this.#connection;
    if (this.#drainStartedMs !== Number.POSITIVE_INFINITY || connection.isOver) return;
    this.#drainStartedMs = connection.host.clock.monotonicMs();
    if (!this.hasPeerSettings) {
      connection.destroy("shutdown");
      return;
    }
    this.sendGoAway(windowBytesCeiling, Http2Error.NoError, "shutting down");
    this.#sendPing(drainMark);
  }

  #finishDrain(): void {
    const connection = this.#connection;
    if (this.#drainStartedMs === Number.POSITIVE_INFINITY || this.#isDrained) return;
    this.#isDrained = true;
    connection.serveUpTo(connection.lastStreamId);
    this.sendGoAway(connection.lastStreamId, Http2Error.NoError, "shutting down");
    this.onIdle();
  }

  /** The last stream ended, or nothing more may begin. */
  onIdle(): void {
    const connection = this.#connection;
    if ((this.#isDrained || this.#peerGoesAway) && connection.streamCount === 0) connection.close();
  }

  sweep(nowMs: number): void {
    const connection = this.#connection;
    const { host, output } = connection;
    const { limits, counters } = host;
    if (!this.hasPeerSettings) {
      if (nowMs - this.#openedMs < limits.handshakeMsMax) return;
      counters.cut("handshake-time");
      connection.destroy("connection-closed");
      return;
    }
    if (nowMs - this.#drainStartedMs >= drainPingMsMax) this.#finishDrain();
    if (this.#isStalled(nowMs)) {
      counters.cut("write-stall");
      connection.destroy("connection-closed");
      return;
    }
    // While the client does not take our bytes, nothing is read from it: its silence is ours.
    if (output.isBlocked) this.onRead(nowMs);
    if (nowMs - this.#pingSentMs >= limits.pingAnswerMsMax) {
      counters.cut("silence");
      connection.destroy("connection-closed");
      return;
    }
    if (nowMs - this.#lastReadMs >= limits.silenceMsMax && this.#pingSentMs === Number.POSITIVE_INFINITY) {
      this.#pingSentMs = nowMs;
      this.#sendPing(silenceMark);
    }
  }

  /** The client has taken none of our bytes for too long. */
  #isStalled(nowMs: number): boolean {
    const { output, host } = this.#connection;
    if (!output.isWriting || output.writesFinished !== this.#writesSeen) {
      this.#writesSeen = output.writesFinished;
      this.#writeProgressMs = nowMs;
      return false;
    }
    return nowMs - this.#writeProgressMs >= host.limits.writeStallMsMax;
  }
}
