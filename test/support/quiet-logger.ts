/** For clients of the official SDK: what they would say is no part of a test. */
export const quietLogger = { info() {}, debug() {}, warn() {}, error() {} };
