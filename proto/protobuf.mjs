// protobufjs as the generated codecs use it: 64-bit integers are plain JavaScript numbers. They are exact up to 2^53; a
// larger one is rounded to the nearest double, which survives further encoding and decoding unchanged. Everything we put
// into a 64-bit field (offsets, milliseconds, counts, run ids) stays below 2^53.
import protobuf from "protobufjs/minimal.js";

protobuf.util.Long = undefined;
protobuf.configure();

export default protobuf;
