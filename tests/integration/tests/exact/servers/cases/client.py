# An HTTP/1 client over raw sockets that counts what a test compares: requests sent, final responses received, and
# responses that the application (not the server in front of it) made.
import socket

import connection


class Count:
    def __init__(self):
        self.requests = 0
        self.responses = 0
        self.application = 0
        # Requests that may have been answered although the client saw no response: a RST can discard it.
        self.unsure = 0
        # Requests that may have come to a closed socket.
        self.maybe = 0
        # Requests that the counter may report as opaque.
        self.opaque = 0
        self.statuses = []


class Connection(connection.Connection):
    def __init__(self, address, count):
        super().__init__(address, count, timeout=10)
        self.reset = False

    # Sends the bytes of `requests` requests.
    def send(self, data, requests=1):
        self.count.requests += requests
        try:
            self.socket.sendall(data)
        except OSError:
            self.closed = True

    # Sends each byte in a segment of its own.
    def drip(self, data, requests=1):
        self.count.requests += requests
        try:
            for i in range(len(data)):
                self.socket.sendall(data[i : i + 1])
        except OSError:
            self.closed = True

    # Sends one more request if the server has kept the connection. A server may close it at the same moment.
    def send_if_open(self, data):
        if self.closed:
            return
        self.send(data, 0)
        if self.response() is None:
            self.count.maybe += 1
        else:
            self.count.requests += 1

    def fill(self):
        if self.closed:
            return False
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionError:
            self.closed = self.reset = True
            return False
        if not data:
            self.closed = True
            return False
        self.buffer += data
        return True

    def line(self):
        while b"\n" not in self.buffer:
            if not self.fill():
                return None
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r").decode("latin-1")

    def take(self, size):
        while len(self.buffer) < size:
            if not self.fill():
                return False
        self.buffer = self.buffer[size:]
        return True

    # Reads one header section, of an interim or a final response. Returns its status and fields, or None.
    def header(self):
        first = self.line()
        while first == "":
            first = self.line()
        if first is None:
            return None
        status, fields = int(first.split(" ")[1]), {}
        while line := self.line():
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        return status, fields

    # Reads one final response. Returns its status, or None if the connection ends first.
    def response(self, method="GET", interim=None):
        while True:
            header = self.header()
            if header is None:
                # A server that closes before it has read everything resets the connection, and its response can get
                # lost.
                self.count.unsure += self.reset
                return None
            status, fields = header
            if status >= 200 or status == 101:
                break
            if interim:
                interim(status)
        return self.rest(method, status, fields)

    # Reads the body of a response whose header has been read.
    def rest(self, method, status, fields):
        whole = True
        if method == "HEAD" or status in (101, 204, 304) or method == "CONNECT" and status < 300:
            pass
        elif fields.get("transfer-encoding", "").lower().endswith("chunked"):
            while whole:
                line = self.line()
                if not line:
                    whole = False
                    break
                size = int(line.split(";")[0], 16)
                if size == 0:
                    while line := self.line():
                        pass
                    whole = line is not None
                    break
                whole = self.take(size + 2)
        elif "content-length" in fields:
            whole = self.take(int(fields["content-length"]))
        else:
            while self.fill():
                pass
            self.buffer = b""
        if not whole:
            return None
        self.count.responses += 1
        self.count.application += "x-app" in fields
        self.count.statuses.append(status)
        if "close" in fields.get("connection", "").lower():
            self.finish()
            self.drain()
        return status

    # Reads up to the end of the connection.
    def drain(self):
        while self.fill():
            pass

    # Reads all responses up to the end of the connection.
    def responses(self, method="GET"):
        while self.response(method):
            pass

    # Reads responses until nothing comes for a moment, or bytes that are no response of HTTP/1.
    def responses_for_now(self, method="GET"):
        self.socket.settimeout(0.1)
        try:
            self.responses(method)
        except (TimeoutError, ValueError):
            pass
        self.socket.settimeout(10)
