/** The log was written by a newer release, or by something else. The process refuses it: exit code 78, nothing touched. */
export class LogFormatError extends Error {
  override readonly name = "LogFormatError";
  readonly isOfOtherRelease = true;
}
