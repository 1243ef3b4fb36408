"""The same as grpc-js-xds-caller.ts on gRPC C-core (Debian: python3-grpcio): one call per line, one line of JSON each."""

import json
import sys

import grpc

CALL_SECONDS_MAX = float(sys.argv[2])

channel = grpc.insecure_channel(sys.argv[1])
greet = channel.unary_unary("/popmesh.test.Greeter/Greet")
for _ in sys.stdin:
    try:
        answer = {"greeter": greet(b"", timeout=CALL_SECONDS_MAX).decode()}
    except grpc.RpcError as error:
        answer = {"code": error.code().value[0], "details": error.details()}
    print(json.dumps(answer), flush=True)
channel.close()
