"""Clients whose TCP segments arrive out of order, each on a separate connection.

The kernel sends no out-of-order segments on a loopback device. So this program builds the segments itself and sends
them on a raw socket, with the addresses and sequence numbers of a real connection. TCP_REPAIR of
include/uapi/linux/tcp.h gives the sequence numbers. The program must run as root.

Arguments: `hold` or `swap`, the server's port on 127.0.0.1, and the number of connections.
  hold: each connection begins a request, and then sends 480 segments of one byte, with a gap before each segment.
  swap: each connection sends one request in two halves, the second half first.
Prints a line when everything has been sent. Ends when standard input is closed.
"""

import socket
import struct
import sys

REPAIR, REPAIR_QUEUE, QUEUE_SEQ = 19, 20, 21
RECEIVED, SENT = 1, 2
OFF_SILENTLY = -1
SEGMENTS = 480
PSH_ACK = 0x18

raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)


def option(connection, name, value):
    connection.setsockopt(socket.IPPROTO_TCP, name, value)


def numbers(connection):
    """Returns the sequence numbers of the next byte to send and of the next byte to receive."""
    option(connection, REPAIR, 1)
    found = []
    for queue in (SENT, RECEIVED):
        option(connection, REPAIR_QUEUE, queue)
        found.append(connection.getsockopt(socket.IPPROTO_TCP, QUEUE_SEQ) % 2**32)
    option(connection, REPAIR, OFF_SILENTLY)
    return found


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def send(connection, sequence, acknowledged, payload):
    (address, port), (peer, peer_port) = connection.getsockname(), connection.getpeername()
    head = [port, peer_port, sequence % 2**32, acknowledged, 5 << 4, PSH_ACK, 1024, 0, 0]
    pseudo = socket.inet_aton(address) + socket.inet_aton(peer)
    pseudo += struct.pack("!BBH", 0, socket.IPPROTO_TCP, 20 + len(payload))
    head[7] = checksum(pseudo + struct.pack("!HHIIBBHHH", *head) + payload)
    raw.sendto(struct.pack("!HHIIBBHHH", *head) + payload, (peer, 0))


def hold(connection):
    connection.sendall(b"GET / HTTP/1.1\r\nX: ")
    sequence, acknowledged = numbers(connection)
    for segment in range(SEGMENTS):
        send(connection, sequence + 1 + 2 * segment, acknowledged, b"x")


def swap(connection):
    first, second = b"GET / HTTP/1.1\r\nHo", b"st: test\r\n\r\n"
    sequence, acknowledged = numbers(connection)
    send(connection, sequence + len(first), acknowledged, second)
    connection.sendall(first)


how, port, count = globals()[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3])
connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
for connection in connections:
    how(connection)
print("sent", flush=True)
sys.stdin.read()
