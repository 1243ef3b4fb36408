import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";
import { dueAfterReboot, storedAfterReboot } from "./transaction-clock.ts";
import type { TransactionTable } from "./transaction-table.ts";

/** The part of a state image that holds the transactions: how the youngest ended, then the open ones by number. */
export function writeTransactions(transactions: TransactionTable, into: ImageWriter): void {
  const { low, next, runs } = transactions.resolutions.image();
  into.f64(low);
  into.u32(runs.length);
  for (const [first, run] of runs) {
    into.f64(first);
    into.u32(run);
  }
  into.u32(next - low);
  into.fill(next - low, (bytes, at) => transactions.resolutions.copyOutcomes(bytes, at));
  into.u32(transactions.count);
  for (const slot of transactions.slotsWhere(() => true)) {
    into.f64(transactions.number[slot]!);
    into.u32(transactions.topicId[slot]!);
    into.u32(transactions.run[slot]!);
    into.f64(transactions.position[slot]!);
    into.u32(transactions.bytes[slot]!);
    into.u32(transactions.tagHash[slot]!);
    into.u16(transactions.checks[slot]!);
    into.f64(transactions.storedMs[slot]!);
    into.f64(transactions.storedWallMs[slot]!);
    into.u8(transactions.isOldStored[slot]!);
    into.f64(transactions.dueMs[slot]!);
    into.f64(transactions.dueWallMs[slot]!);
    into.u32(transactions.delayMs[slot]!);
    into.u8(transactions.isOldDue[slot]!);
  }
}

/** `boot`: in which the image was made. Throws `RangeError` when it is cut short. */
export function readTransactions(from: ImageReader, tables: BrokerTables, boot: number): void {
  const { transactions, transactionTimers, topics, clock } = tables;
  const low = from.f64();
  const runs: [number, number][] = [];
  for (let left = from.u32(); left > 0; left--) runs.push([from.f64(), from.u32()]);
  from.take(from.u32(), (bytes, at, count) =>
    transactions.resolutions.restore(low, runs, bytes.subarray(at, at + count)),
  );
  for (let left = from.u32(); left > 0; left--) {
    const number = from.f64();
    const topicId = from.u32();
    if (topics.byId(topicId) === undefined) throw new RangeError("a transaction of an unknown topic");
    const slot = transactions.add(number, topicId);
    transactions.run[slot] = from.u32();
    transactions.position[slot] = from.f64();
    transactions.bytes[slot] = from.u32();
    transactions.tagHash[slot] = from.u32();
    transactions.checks[slot] = from.u16();
    const storedMs = from.f64();
    const storedWallMs = from.f64();
    const isOldStored = from.u8() === 1 || boot !== clock.boot;
    transactions.storedMs[slot] = isOldStored ? storedAfterReboot(clock, storedWallMs) : storedMs;
    transactions.storedWallMs[slot] = storedWallMs;
    transactions.isOldStored[slot] = isOldStored ? 1 : 0;
    const dueMs = from.f64();
    const dueWallMs = from.f64();
    const delayMs = from.u32();
    const isOldDue = from.u8() === 1 || boot !== clock.boot;
    transactions.dueMs[slot] = isOldDue ? dueAfterReboot(clock, dueWallMs, delayMs) : dueMs;
    transactions.dueWallMs[slot] = dueWallMs;
    transactions.delayMs[slot] = delayMs;
    transactions.isOldDue[slot] = isOldDue ? 1 : 0;
    transactionTimers.set(slot, transactions.dueMs[slot]!);
  }
}
