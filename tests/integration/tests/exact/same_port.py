"""A client whose address and port are also those of a connection that the server's pod has opened.

The kernel gives one port to connections with different destinations. Argument: the server's cgroup. The client sends
three requests.
"""

import os
import socket
import sys

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def sharing(port):
    end = socket.socket()
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    end.bind(("127.0.0.1", port))
    return end


# A socket belongs to the cgroup in which it is created. So the client and the upstream server are outside the pod.
upstream = socket.create_server(("127.0.0.1", 0))
client = sharing(0)
with open(f"{sys.argv[1]}/cgroup.procs", "w") as procs:
    procs.write(str(os.getpid()))
server = socket.create_server(("127.0.0.1", 0))
opened = sharing(client.getsockname()[1])
opened.connect(upstream.getsockname())
client.connect(server.getsockname())
accepted, _ = server.accept()
for _ in range(3):
    client.sendall(GET)
    assert accepted.recv(100) == GET
    accepted.sendall(OK)
    assert client.recv(100) == OK
