# Requests over TLS. Each connection is opaque: it counts as one request for as long as it is open.
import ssl
import time

import connection
import traffic
from http1 import get

CONTEXT = ssl.create_default_context()
CONTEXT.check_hostname = False
CONTEXT.verify_mode = ssl.CERT_NONE


class Traffic(traffic.Traffic):
    OPERATIONS = (("requests", 9, None), ("reconnects", 1, None))

    def connect(self):
        return connection.Connection(self.addresses["plain"], self.count, self.TIMEOUT)

    def operate(self):
        if self.connection is None:
            c = self.connect_to(self.connect)
            c.begin = time.monotonic()
            self.connection = c
            self.count.requests += 1
            self.count.opaque += 1
            self.count.held = 1
            c.socket = CONTEXT.wrap_socket(c.socket)
        super().operate()

    def unusual(self):
        self.reconnects()

    def requests(self):
        self.connection.socket.sendall(get("/"))
        head = b""
        while b"\r\n\r\n" not in head:
            received = self.connection.socket.recv(1 << 16)
            if not received:
                return self.close()
            head += received

    def reconnects(self):
        self.close()

    def is_open(self):
        return self.connection is not None

    def close(self):
        c = self.connection
        super().close()
        if c is not None:
            self.count.held = 0
            self.spent(c.begin)
