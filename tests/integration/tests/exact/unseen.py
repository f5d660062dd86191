"""A server and its client in one process. Both ends of their connection have bytes that no packet has carried.

TCP's repair mode (TCP_REPAIR of include/uapi/linux/tcp.h) exists to move connections from one machine to another. In
this mode, a process can set the sequence numbers of a socket, and put bytes into the receive queue of a socket.

Arguments: the server's cgroup, and three byte strings in hexadecimal. The client sends the first and the third one; the
server gets the second one without a packet. Ends when standard input is closed.
"""

import os
import socket
import sys

REPAIR, REPAIR_QUEUE, QUEUE_SEQ, REPAIR_WINDOW = 19, 20, 21, 29
WINDOW_SIZE = 20
RECEIVED, SENT = 1, 2
OFF_SILENTLY = -1


def option(connection, name, value):
    connection.setsockopt(socket.IPPROTO_TCP, name, value)


def position(connection, queue):
    option(connection, REPAIR_QUEUE, queue)
    return connection.getsockopt(socket.IPPROTO_TCP, QUEUE_SEQ) % 2**32


def signed(number):
    return (number + 2**31) % 2**32 - 2**31


def exactly(connection, size):
    received = b""
    while len(received) < size:
        received += connection.recv(size - len(received))
    return received


cgroup = sys.argv[1]
first, unseen, last = (bytes.fromhex(argument) for argument in sys.argv[2:])

# A socket belongs to the cgroup in which it is created. So the client's sockets are created before this process enters
# the server's cgroup.
client, moved = socket.socket(), socket.socket()
# Both sockets take the client's port now, so no other process can take it between the end of `client` and the start of
# `moved`. Two sockets that do not listen may share a port if both allow it.
for end in client, moved:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
client.bind(("127.0.0.1", 0))
moved.bind(client.getsockname())
with open(f"{cgroup}/cgroup.procs", "w") as procs:
    procs.write(str(os.getpid()))
listener = socket.create_server(("127.0.0.1", 0))
client.connect(listener.getsockname())
server, _ = listener.accept()
client.sendall(first)
exactly(server, len(first))

# Moves the client's end of the connection to the socket `moved`. Its next sequence number is higher by the length of
# `unseen`, as if the client had already sent these bytes.
option(client, REPAIR, 1)
sent, received = position(client, SENT), position(client, RECEIVED)
window = client.getsockopt(socket.IPPROTO_TCP, REPAIR_WINDOW, WINDOW_SIZE)
client.close()
option(moved, REPAIR, 1)
option(moved, REPAIR_QUEUE, SENT)
option(moved, QUEUE_SEQ, signed(sent + len(unseen)))
option(moved, REPAIR_QUEUE, RECEIVED)
option(moved, QUEUE_SEQ, signed(received))
moved.connect(listener.getsockname())
option(moved, REPAIR_WINDOW, window)

# Puts the bytes `unseen`, which no packet carries, into the receive queue of the server's socket.
option(server, REPAIR, 1)
option(server, REPAIR_QUEUE, RECEIVED)
server.sendall(unseen)
option(server, REPAIR, OFF_SILENTLY)
option(moved, REPAIR, 0)

moved.sendall(last)
assert exactly(server, len(unseen + last)) == unseen + last
print("received", flush=True)
sys.stdin.read()
