# gRPC cases: unary calls on one channel, which is one connection; see http1.py.
import asyncio

CASES = {}


def calls(number, cancelled=0):
    def run(t):
        import grpc

        name = t.name()
        loop = asyncio.new_event_loop()

        async def start():
            channel = grpc.aio.insecure_channel("%s:%d" % t.tcp)
            method = channel.unary_unary("/ebb.Test/Wait")
            started = [method(name.encode()) for _ in range(number)]
            t.count.requests += number
            return channel, started

        async def until_logged():
            while t.logged() < number:
                await asyncio.sleep(0.02)

        async def end(channel, started):
            for call in started:
                if not call.cancelled():
                    await call
                    t.count.responses += 1
                    t.count.application += 1
            await channel.close()

        channel, started = loop.run_until_complete(start())
        # The calls are sent by the loop, which runs until the server has them all.
        loop.run_until_complete(until_logged())
        yield {"in_flight": number, "connections": 1}
        for call in started[:cancelled]:
            call.cancel()
        if cancelled:
            loop.run_until_complete(asyncio.sleep(0.1))
            yield {"in_flight": number - cancelled, "connections": 1}
        t.release(name)
        loop.run_until_complete(end(channel, started))
        loop.close()
        yield {}

    return run


CASES["grpc_calls_600"] = (calls(600), ())
CASES["grpc_calls_2000"] = (calls(2000), ())
CASES["grpc_calls_cancelled"] = (calls(50, cancelled=20), ())
