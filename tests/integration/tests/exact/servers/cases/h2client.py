# An HTTP/2 client over raw sockets: it sends frames as the test gives them, and counts the ends of streams.
import socket
import struct

import connection

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, PADDED, HAS_PRIORITY, ACK = 1, 4, 8, 32, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


# Encodes fields as literals without indexing and without Huffman coding (RFC 7541, 6.2.2).
def block(*fields):
    out = b""
    for name, value in fields:
        out += b"\0" + integer(len(name)) + name + integer(len(value)) + value
    return out


def integer(value):
    if value < 127:
        return bytes([value])
    out, value = b"\x7f", value - 127
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def request(path, *fields, method=b"GET"):
    return block(
        (b":method", method), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"test"), *fields
    )


class Connection(connection.Connection):
    # `window`: the initial window of each stream, in bytes. `update`: whether the client opens windows.
    def __init__(self, address, count, window=1 << 20, greet=True):
        super().__init__(address, count, timeout=5)
        self.next = 1
        # The streams that the server has ended, and those that it has reset.
        self.ended, self.reset = set(), set()
        self.goaway = None
        self.frames = []
        self.window = window
        if greet:
            self.greet()

    def greet(self):
        settings = struct.pack(">HIHI", 4, self.window, 2, 0)
        self.raw(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 24)))

    def raw(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            self.closed = True

    def stream(self):
        self.next += 2
        return self.next - 2

    # Sends a request in one HEADERS frame, and returns its stream.
    def get(self, path, *fields, method=b"GET", end=True):
        stream = self.stream()
        self.count.requests += 1
        self.raw(frame(HEADERS, END_HEADERS | end, stream, request(path, *fields, method=method)))
        return stream

    def send(self, kind, flags, stream, payload=b""):
        self.raw(frame(kind, flags, stream, payload))

    # Resets streams, as a client does that gives up.
    def cancel(self, *streams):
        self.reset.update(set(streams) - self.ended)
        for stream in streams:
            self.send(RST_STREAM, 0, stream, struct.pack(">I", 8))

    # Receives one frame. Returns its kind, or None at the end of the connection.
    def receive(self):
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            try:
                data = self.socket.recv(1 << 18)
            except ConnectionResetError:
                data = b""
            if not data:
                self.closed = True
                return None
            self.buffer += data
        size = int.from_bytes(self.buffer[:3], "big")
        kind, flags = self.buffer[3], self.buffer[4]
        stream = int.from_bytes(self.buffer[5:9], "big")
        payload = self.buffer[9 : 9 + size]
        self.buffer = self.buffer[9 + size :]
        self.frames.append((kind, flags, stream, size))
        if kind in (DATA, HEADERS) and flags & END_STREAM and stream not in self.ended and stream not in self.reset:
            self.ended.add(stream)
            self.count.responses += 1
            self.count.application += 1
        if kind == RST_STREAM and stream not in self.ended:
            self.reset.add(stream)
        if kind == GOAWAY:
            self.goaway = struct.unpack(">II", payload[:8])
        if kind == SETTINGS and not flags & ACK:
            self.raw(frame(SETTINGS, ACK, 0))
        return kind

    # Receives frames until all these streams have ended or were reset. Returns False if the connection ends first.
    def until(self, *streams):
        while not self.ended.union(self.reset).issuperset(streams):
            if self.receive() is None:
                return False
        return True

    # Records that the streams without an end may have come to a closed socket.
    def may_be_late(self, streams):
        late = len(set(streams) - self.ended - self.reset)
        self.count.requests -= late
        self.count.maybe += late

    def until_kind(self, kind, flags=0):
        while True:
            received = self.receive()
            if received is None:
                return False
            if received == kind and self.frames[-1][1] & flags == flags:
                return True

    def drain(self):
        while self.receive() is not None:
            pass
