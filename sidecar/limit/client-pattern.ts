const star = 0x2a;

/** Whether a client id fits a pattern in which "*" stands for any number of characters, none too. Makes nothing. */
export function matchesClient(pattern: string, clientId: string): boolean {
  let at = 0;
  let patternAt = 0;
  /** Where to go on when what follows the last star does not fit: the star takes one character more. */
  let retryAt = 0;
  let retryPatternAt = -1;
  while (at < clientId.length) {
    const sign = patternAt < pattern.length ? pattern.charCodeAt(patternAt) : 0;
    if (sign === star) {
      retryPatternAt = ++patternAt;
      retryAt = at;
    } else if (patternAt < pattern.length && sign === clientId.charCodeAt(at)) {
      patternAt++;
      at++;
    } else if (retryPatternAt >= 0) {
      patternAt = retryPatternAt;
      at = ++retryAt;
    } else return false;
  }
  while (patternAt < pattern.length && pattern.charCodeAt(patternAt) === star) patternAt++;
  return patternAt === pattern.length;
}
