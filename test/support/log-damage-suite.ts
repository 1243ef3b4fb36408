import { randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { assertContained, assertReads, type LogAtRest, logAtRest, positionsOf } from "./log-damage.ts";

const sectorBytes = 512;

/** Every `stride`-th case of each kind of damage; returns how many cases of each kind ran. */
export async function runDamageCases(seed: number, stride: number): Promise<Record<string, number>> {
  const rest = await logAtRest(seed);
  const randomness = new SeededRandomness(seed);
  const offset = randomIndex(randomness, stride);
  return {
    truncations: await truncations(rest, stride, offset),
    regionFlips: await regionFlips(rest, stride, offset),
    flipsWithoutMark: await flipsWithoutMark(rest, 8 * stride, offset),
    randomFlips: await randomFlips(rest, Math.ceil(5000 / stride), randomness),
    sectors: await sectors(rest),
    files: await files(rest),
  };
}

/** The last segment ends too early, at every byte. */
async function truncations(rest: LogAtRest, stride: number, offset: number): Promise<number> {
  const segment = rest.segments.at(-1)!;
  let count = 0;
  for (let size = offset; size < segment.sizeBytes; size += stride) {
    // Without at least one copy of its header a file cannot be trusted with anything.
    const from = size < sectorBytes ? 0 : size;
    const gone = positionsOf(segment, from, segment.sizeBytes);
    const thorough = count % 50 === 0;
    await assertContained(rest, `cut to ${size}`, [gone], (disk) => disk.resize(segment.path, size), thorough);
    count++;
  }
  return count;
}

/** Every bit of 4 KiB in the middle of a segment. */
async function regionFlips(rest: LogAtRest, stride: number, offset: number): Promise<number> {
  const segment = rest.segments[1]!;
  let count = 0;
  for (let bit = offset; bit < 8 * 4096; bit += stride) {
    await flip(rest, segment.path, 8192 + (bit >> 3), bit & 7, count % 100 === 0);
    count++;
  }
  return count;
}

/** Bits of the first 4 KiB of the last segment while the mark is lost as well: only later batches prove what was durable. */
async function flipsWithoutMark(rest: LogAtRest, stride: number, offset: number): Promise<number> {
  const { path } = rest.segments.at(-1)!;
  const unmarked = { ...rest, disk: rest.disk.copy() };
  unmarked.disk.remove("log/durable.mark");
  let count = 0;
  for (let bit = offset; bit < 8 * 4096; bit += stride) {
    await flip(unmarked, path, 1024 + (bit >> 3), bit & 7, count % 20 === 0);
    count++;
  }
  return count;
}

async function randomFlips(rest: LogAtRest, cases: number, randomness: SeededRandomness): Promise<number> {
  const paths = rest.disk.paths();
  for (let i = 0; i < cases; i++) {
    const path = paths[randomIndex(randomness, paths.length)]!;
    const at = randomIndex(randomness, rest.disk.sizeOf(path));
    await flip(rest, path, at, randomIndex(randomness, 8), i % 20 === 0);
  }
  return cases;
}

async function flip(rest: LogAtRest, path: string, at: number, bit: number, thorough: boolean): Promise<void> {
  const segment = rest.segments.find((candidate) => candidate.path === path);
  const gone = segment === undefined ? [] : [positionsOf(segment, at, at + 1)];
  const damage = (bytes: Buffer) => {
    bytes[at]! ^= 1 << bit;
  };
  const what = `bit ${bit} of byte ${at} of ${path}`;
  await assertContained(rest, what, gone, (disk) => disk.alter(path, damage), thorough);
  if (thorough) await assertReads(rest, what, gone, (disk) => disk.alter(path, damage));
}

/** Each sector zeroed, unreadable, or overwritten with another one of the same file. */
async function sectors(rest: LogAtRest): Promise<number> {
  let count = 0;
  for (const segment of rest.segments) {
    for (let at = 0; at < segment.sizeBytes; at += sectorBytes) {
      const gone = [positionsOf(segment, at, at + sectorBytes)];
      const { path } = segment;
      await assertContained(rest, `zeroed sector ${at} of ${path}`, gone, (disk) =>
        disk.alter(path, (bytes) => bytes.fill(0, at, at + sectorBytes)),
      );
      await assertContained(rest, `unreadable sector ${at} of ${path}`, gone, (disk) =>
        disk.makeUnreadable(path, at, at + sectorBytes),
      );
      const other = (at + 7 * sectorBytes) % segment.sizeBytes;
      await assertContained(rest, `sector ${other} written to ${at} of ${path}`, gone, (disk) =>
        disk.alter(path, (bytes) => bytes.copy(bytes, at, other, other + sectorBytes)),
      );
      count += 3;
    }
  }
  return count;
}

/** Files under each other's names, missing, copied over another, and damaged beyond recognition. */
async function files(rest: LogAtRest): Promise<number> {
  let count = 0;
  const whole = (segment: (typeof rest.segments)[number]) => positionsOf(segment, 0, segment.sizeBytes);
  for (const segment of rest.segments) {
    const { path } = segment;
    await assertContained(rest, `missing ${path}`, [whole(segment)], (disk) => disk.remove(path), true);
    const zeroed = (disk: typeof rest.disk) => disk.alter(path, (bytes) => bytes.fill(0));
    await assertContained(rest, `zeroed ${path}`, [whole(segment)], zeroed, true);
    const headless = (disk: typeof rest.disk) => disk.alter(path, (bytes) => bytes.fill(0, 0, 2 * sectorBytes));
    await assertContained(rest, `${path} without header`, [], headless, true);
    for (const other of rest.segments) {
      if (other === segment) continue;
      await assertContained(rest, `${path} and ${other.path} swapped`, [], (disk) => disk.swap(path, other.path), true);
      const copied = (disk: typeof rest.disk) => {
        const bytes = disk.contents(other.path);
        disk.alter(path, (target) => bytes.copy(target));
      };
      await assertContained(rest, `${other.path} copied over ${path}`, [whole(segment)], copied, true);
      count += 2;
    }
    count += 3;
  }
  await assertContained(rest, "missing mark", [], (disk) => disk.remove("log/durable.mark"), true);
  return count + 1;
}
