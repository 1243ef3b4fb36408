import { Code } from "../code.ts";
import { MeshError } from "../runtime/mesh-error.ts";
import { checkElements, defaultElementLimits, type ElementLimits, type Shape, shapeOf } from "./element-count.ts";

/** A generated message class (`#codec/…`). */
export interface MessageClass<Message, Properties> {
  decode(bytes: Uint8Array): Message;
  encode(properties: Properties): { finish(): Uint8Array };
}

/**
 * The door for everything that is not hot: decodes with limits, and with one kind of error. A malformed, oversized or
 * otherwise undecodable message is a `MeshError` (BAD_REQUEST), never a crash and never a surprise of the memory.
 *
 *     const queryRoute = new GeneralCodec(v2.QueryRouteRequest, "apache.rocketmq.v2.QueryRouteRequest");
 *     const request = queryRoute.decode(bytes, start, end);
 */
export class GeneralCodec<Message, Properties> {
  readonly typeName: string;
  readonly #class: MessageClass<Message, Properties>;
  readonly #shape: Shape;
  readonly #limits: ElementLimits;

  /** Throws when the schemas have no type of that name. */
  constructor(
    messageClass: MessageClass<Message, Properties>,
    typeName: string,
    limits: ElementLimits = defaultElementLimits,
  ) {
    this.typeName = typeName;
    this.#class = messageClass;
    this.#shape = shapeOf(typeName);
    this.#limits = limits;
  }

  /** Fields of type `bytes` are views of `bytes`: copy what is kept. */
  decode(bytes: Buffer, start = 0, end = bytes.length): Message {
    checkElements(bytes, start, end, this.#shape, this.#limits);
    try {
      return this.#class.decode(bytes.subarray(start, end));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new MeshError(Code.BadRequest, `the bytes are no ${this.typeName}: ${reason}`, { cause: error });
    }
  }

  encode(properties: Properties): Buffer {
    return this.#class.encode(properties).finish() as Buffer;
  }
}
