"""gRPC for an event loop, on grpcio's own core.

`grpc.aio` spends several times as long on a request as the core under it: tasks, futures and wake-ups for every step of
an RPC. Here the event loop takes the core's events itself, and an RPC is one task. The handlers are those of
`grpc.aio`: the same coroutines, async generators and, in the part that is used, context.

`core` and `rpc` are the only modules that touch grpcio's internals, which have been the same for years but are not
promised to stay; where they are not what is expected, `aio` takes over.
"""
