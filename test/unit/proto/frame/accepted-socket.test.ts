import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { readInPlace } from "../../../../proto/frame/accepted-socket.ts";
import type { FrameSocket } from "../../../../proto/frame/frame-socket.ts";
import { waitUntil } from "../../../support/wait-until.ts";

describe("readInPlace", () => {
  let server: Server;
  let accepted: FrameSocket[];
  let chunks: { readonly text: string; readonly memory: ArrayBufferLike }[];
  let ended: number;
  beforeEach(async () => {
    accepted = [];
    chunks = [];
    ended = 0;
    server = createServer({ pauseOnConnect: true }, (socket) => {
      const inPlace = readInPlace(socket);
      inPlace.on("data", (chunk) => chunks.push({ text: chunk.toString("latin1"), memory: chunk.buffer }));
      inPlace.on("end", () => ended++);
      accepted.push(inPlace);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  afterEach(() => {
    for (const socket of accepted) socket.destroy();
    server.close();
  });

  const open = async (): Promise<Socket> => {
    const count = accepted.length;
    const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
    await once(client, "connect");
    await waitUntil("the connection is accepted", () => accepted.length > count);
    return client;
  };
  const text = () => chunks.map((chunk) => chunk.text).join("");

  it("hands on what comes, all of it in the same memory, whatever the connection", async () => {
    const [a, b] = [await open(), await open()];
    // Sent before anybody listened would be lost if the accepted socket had read.
    a.write("one");
    await waitUntil("the first bytes", () => text() === "one");
    b.write("two");
    await waitUntil("the second bytes", () => text() === "onetwo");
    assert.equal(chunks[0]?.memory, chunks[1]?.memory);
    const long = "x".repeat(1_000_000);
    a.write(long);
    await waitUntil("many reads", () => text() === `onetwo${long}`);
    assert.ok(chunks.length > 10);
    a.destroy();
    b.destroy();
  });

  it("answers, tells its peer's address, stops reading while paused, and ends with its peer", async () => {
    const client = await open();
    const socket = accepted[0]!;
    assert.equal(socket.remoteAddress, "127.0.0.1");
    assert.equal(socket.remotePort, client.localPort);
    socket.setNoDelay(true);
    let received = "";
    client.setEncoding("latin1").on("data", (chunk: string) => {
      received += chunk;
    });
    socket.write(Buffer.from("answer"), () => {});
    await waitUntil("the answer", () => received === "answer");

    socket.pause();
    client.write("while paused");
    client.end();
    // A round trip through another connection: what came for the paused one would have been read by now.
    const other = await open();
    other.write("other");
    await waitUntil("the other connection", () => text().includes("other"));
    assert.equal(text(), "other");
    socket.resume();
    await waitUntil("the end", () => ended === 1);
    assert.equal(text(), "otherwhile paused");
    other.destroy();
  });

  it("counts as a connection of its server until it is closed", async () => {
    const count = () => new Promise<number>((resolve) => server.getConnections((_, number) => resolve(number)));
    const client = await open();
    assert.equal(await count(), 1);
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    client.destroy();
    await closed;
    assert.equal(await count(), 0);
  });

  it("gives back, reading, a socket of a Node that it does not know", () => {
    let isReading = false;
    const foreign = { resume: () => (isReading = true) } as unknown as Socket;
    assert.equal(readInPlace(foreign), foreign);
    assert.ok(isReading);
  });
});
