# Calls one method of grpc_server.py: grpc_client.py ADDRESS Unary|Server|Client|Both SECONDS
# Prints the duration of the call, in seconds.
import sys, time
import grpc

address, kind, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])


def messages():
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        yield b"tick"
        time.sleep(0.05)


with grpc.insecure_channel(address) as channel:
    grpc.channel_ready_future(channel).result(timeout=20)
    method = f"/ebb.Test/{kind}"
    began = time.monotonic()
    if kind == "Unary":
        channel.unary_unary(method)(b"tick")
    elif kind == "Server":
        for _ in channel.unary_stream(method)(str(seconds).encode()):
            pass
    elif kind == "Client":
        channel.stream_unary(method)(messages())
    else:
        for _ in channel.stream_stream(method)(messages()):
            pass
    print(time.monotonic() - began)
