/** Kept free, so that a sidecar that comes gets something before the others have given anything back. */
export const reservePart = 0.05;

/** Of what is divided, this part is everybody's, wanted or not: whoever was idle must not find nothing. */
const floorPart = 0.1;

/**
 * Divides a limit among those who want some of it, max-min fair: nobody who wants more than he gets, gets less than another. What is
 * left when all have what they want is added in equal parts, so that a rising demand finds room. Wants and shares are parts of the
 * limit; the shares sum up to 1 without the reserve, unless there is nobody.
 *
 * The order of `wants` does not matter. Wants below zero count as zero.
 */
export function divideLimit(wants: readonly number[]): number[] {
  const count = wants.length;
  const whole = 1 - reservePart;
  const floor = count === 0 ? 0 : (whole * floorPart) / count;
  const raised = wants.map((want) => Math.max(floor, Number.isFinite(want) ? want : whole));
  const sum = raised.reduce((total, want) => total + want, 0);
  if (sum <= whole) return raised.map((want) => want + (whole - sum) / count);
  const level = levelOf(raised, whole);
  return raised.map((want) => Math.min(want, level));
}

/** The height at which those who want more are cut, so that all together have `whole`. */
function levelOf(wants: readonly number[], whole: number): number {
  const rising = [...wants].sort((a, b) => a - b);
  let left = whole;
  for (const [i, want] of rising.entries()) {
    const equal = left / (rising.length - i);
    if (want >= equal) return equal;
    left -= want;
  }
  return whole;
}
