/** A part of the log that is lost for good: it was on disk once and cannot be read any more. */
export interface DamageRange {
  /** First lost position. */
  readonly from: number;
  /** Position behind the last lost one. */
  readonly to: number;
  /** Lost records, counted from the numbers of those around; undefined where nothing behind the range tells. */
  readonly recordCount: number | undefined;
  /** The file that should hold it. */
  readonly path: string;
}
