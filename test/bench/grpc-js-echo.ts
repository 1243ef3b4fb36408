import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from "@grpc/grpc-js";

/**
 * The yardstick of the data port: a @grpc/grpc-js server that takes a SendMessage as bytes and answers fixed bytes, with no
 * codec at all. Prints its port, then serves until it is killed.
 */
const answer = Buffer.from("0a0608a09c011200", "hex");
const passThrough = (bytes: Buffer) => bytes;

const server = new Server({ "grpc.max_receive_message_length": 8 * 1024 * 1024 });
server.addService(
  {
    SendMessage: {
      path: "/apache.rocketmq.v2.MessagingService/SendMessage",
      requestStream: false,
      responseStream: false,
      requestDeserialize: passThrough,
      requestSerialize: passThrough,
      responseDeserialize: passThrough,
      responseSerialize: passThrough,
    },
  },
  { SendMessage: (_call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => done(null, answer) },
);
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  process.stdout.write(`listening on ${port}\n`);
});
