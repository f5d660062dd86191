# A gRPC server of bytes, without a schema: grpc_server.py HOST PORT COUNT_SOCKET
#   /ebb.Test/Unary   bytes -> the same
#   /ebb.Test/Server  seconds -> a message each 50 ms for so long
#   /ebb.Test/Client  a stream -> how many messages it had
#   /ebb.Test/Both    a stream -> each message back
import socket, sys, threading, time
from concurrent import futures
import grpc

host, port, count_socket = sys.argv[1:]
lock, requests = threading.Lock(), 0


def counted(handler):
    def handle(*arguments):
        global requests
        with lock:
            requests += 1
        return handler(*arguments)

    return handle


def server(request, _):
    ends = time.monotonic() + float(request)
    while time.monotonic() < ends:
        yield b"tick"
        time.sleep(0.05)


kinds = {
    "Unary": grpc.unary_unary_rpc_method_handler(counted(lambda request, _: request)),
    "Server": grpc.unary_stream_rpc_method_handler(counted(server)),
    "Client": grpc.stream_unary_rpc_method_handler(
        counted(lambda requests, _: str(sum(1 for _ in requests)).encode())
    ),
    "Both": grpc.stream_stream_rpc_method_handler(counted(lambda requests, _: requests)),
}
served = grpc.server(futures.ThreadPoolExecutor(16))
served.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("ebb.Test", kinds),))
served.add_insecure_port(f"{host}:{port}")
served.start()

counts = socket.socket(socket.AF_UNIX)
counts.bind(count_socket)
counts.listen()
while True:
    with counts.accept()[0] as asker:
        asker.send(str(requests).encode())
