# Ordinary traffic of HTTP/1, and one unusual message in a hundred.
import socket
import time

import client
import http1_unusual
import tally
import traffic
from http1 import CHUNKED, get, post
from http1_in_flight import CLOSE, TEXT, WS

# The letter after the second slash of a path says what its line in the log stands for: k, a request whose response is
# read; a, one that the client aborts; o, an unusual one; e, a probe.
SIZED = b"Content-Length: 5\r\n"
PROBE = b"User-Agent: kube-probe/1.31\r\n"

# How long the server waits with the response that the client does not wait for, in seconds.
ABORTED = 0.4


class Traffic(traffic.Traffic):
    OPERATIONS = (
        ("few", 30, None),
        ("pipelined", 8, "pipelines"),
        ("pipelined_mixed", 4, "pipelines"),
        ("with_length", 8, None),
        ("chunked", 8, None),
        ("head", 4, None),
        ("statuses", 8, None),
        ("chunked_response", 6, "chunked"),
        ("no_length", 1, "close"),
        ("trailers", 1, "trailers"),
        ("early", 1, "early"),
        ("download", 2, None),
        ("upload", 2, None),
        ("waits", 8, None),
        ("expects", 1, None),
        ("old_version", 1, None),
        ("says_close", 2, None),
        ("drips", 1, None),
        ("websocket", 1, "ws"),
        ("probe", 1, None),
        ("aborts", 2, None),
        ("aborts_download", 1, None),
        ("aborts_upload", 1, None),
        ("connects_only", 1, None),
        ("after_proxy_header", 1, "proxy"),
    )

    def connect(self):
        return client.Connection(self.addresses["plain"], self.count)

    # Sends these messages in one segment, and reads a response for each. Each is a method and bytes.
    def ask(self, *messages):
        c = self.connected()
        begin = time.monotonic()
        c.send(b"".join(data for _, data in messages), len(messages))
        return self.answered(c, begin, [method for method, _ in messages])

    # Reads the responses to requests with these methods. Returns whether all came.
    def answered(self, c, begin, methods):
        self.left -= len(methods)
        for number, method in enumerate(methods):
            if c.response(method) is None:
                lost = len(methods) - number
                self.lost(lost)
                self.spent(begin, lost)
                c.close()
                return False
            self.count.kept += 1
            self.spent(begin)
        return True

    def few(self):
        for _ in range(self.random.randint(1, 5)):
            self.ask(("GET", get("/cl/k")))

    def pipelined(self):
        self.ask(*[("GET", get("/cl/k"))] * self.random.randint(2, 8))

    def pipelined_mixed(self):
        messages = [
            ("GET", get("/cl/k")),
            ("POST", post("/echo/k", SIZED, b"hello")),
            ("POST", post("/echo/k", CHUNKED, b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n")),
            ("HEAD", get("/cl/k", method=b"HEAD")),
            ("GET", get("/204/k")),
            ("GET", get("/404/k")),
            ("GET", get("/chunked/k" if "chunked" in self.features else "/cl/k")),
        ]
        self.ask(*self.random.choices(messages, k=self.random.randint(2, 6)))

    def with_length(self):
        size = self.random.choice((0, 1, 39, 1400, 5000))
        length = b"Content-Length: %d\r\n" % size
        self.ask((self.random.choice(("POST", "PUT", "PATCH")), post("/echo/k", length, b"G" * size)))

    def chunked(self):
        sizes = [self.random.choice((1, 15, 16, 1000, 4000)) for _ in range(self.random.randint(0, 4))]
        extension = self.random.choice((b"", b"", b";name=value", b';name="v"'))
        body = b"".join(b"%x%s\r\n%s\r\n" % (size, extension, b"0" * size) for size in sizes)
        trailer = self.random.choice((b"", b"", b"X-Sum: 1\r\n"))
        self.ask(("POST", post("/echo/k", CHUNKED, body + b"0\r\n" + trailer + b"\r\n")))

    def head(self):
        self.ask(("HEAD", get(self.random.choice(("/cl/k", "/large/k")), method=b"HEAD")))

    def statuses(self):
        self.ask(("GET", get(self.random.choice(("/204/k", "/304/k", "/404/k")))))
        self.ask((self.random.choice(("DELETE", "OPTIONS", "PROPFIND")), get("/cl/k", method=b"DELETE")))

    def chunked_response(self):
        self.ask(("GET", get("/chunked/k")))

    def no_length(self):
        self.ask(("GET", get("/close/k")))
        self.close()

    def trailers(self):
        self.ask(("GET", get("/trailers/k", b"TE: trailers\r\n")))

    def early(self):
        self.ask(("GET", get("/early/k")))

    def download(self):
        self.ask(("GET", get("/large/k")))

    def upload(self):
        c = self.connected()
        begin = time.monotonic()
        size = self.random.choice((65536, 300000, 1000000))
        c.send(post("/echo/k", b"Content-Length: %d\r\n" % size))
        for piece in range(0, size, 50000):
            c.send(bytes(min(50000, size - piece)), 0)
        self.answered(c, begin, ["POST"])

    # Time in flight that the server decides.
    def waits(self):
        wait = self.random.randint(1, 60)
        if self.ask(("GET", get(f"/wait/k{wait}"))):
            self.count.least += wait * 1000

    def expects(self):
        c = self.connected()
        begin = time.monotonic()
        c.send(post("/echo/k", b"Expect: 100-continue\r\n" + SIZED))
        header = c.header()
        if header and header[0] == 100:
            c.send(b"hello", 0)
            self.answered(c, begin, ["POST"])
        else:
            # A server may answer at once; its connection is not used any more.
            if header:
                c.rest("POST", *header)
                self.count.kept += 1
            else:
                self.lost(1)
            self.spent(begin)
            self.close()

    def old_version(self):
        fields = self.random.choice((b"", b"Connection: keep-alive\r\n"))
        self.ask(("GET", get("/cl/k", fields, b"HTTP/1.0")))
        self.close()

    def says_close(self):
        self.ask(("GET", get("/cl/k", b"Connection: close\r\n")))
        self.close()

    def drips(self):
        c = self.connected()
        begin = time.monotonic()
        c.drip(post("/echo/k", SIZED, b"hello"))
        self.answered(c, begin, ["POST"])

    def websocket(self):
        c = self.connected()
        begin = time.monotonic()
        c.send(get("/ws/k", WS))
        if c.response() != 101:
            self.lost(1)
        else:
            self.count.kept += 1
            c.send(TEXT, 0)
            c.fill()
            c.send(CLOSE, 0)
            if self.random.random() < 0.5:
                c.finish()
                c.drain()
        self.close()
        self.spent(begin)

    # The answer to a probe is no response to a counted request.
    def probe(self):
        c = self.connected()
        c.count = tally.Tally()
        c.send(get("/cl/e", PROBE))
        if c.response() is None:
            self.count.maybe += 1
            c.close()
        else:
            self.count.excluded += 1
        c.count = self.count

    # Aborts a request that the server works on, or one that is not complete.
    def aborts(self):
        c = self.connected()
        begin = time.monotonic()
        request = get(f"/wait/a{int(ABORTED * 1000)}")
        if self.random.random() < 0.3:
            request = request[: self.random.randint(1, len(request) - 1)]
        c.send(request)
        time.sleep(self.random.choice((0, 0.005, 0.05)))
        self.aborted(c, begin)

    def aborted(self, c, begin):
        gone = traffic.waits(c)
        c.reset_now()
        self.spent(begin)
        if gone:
            # The server was the first to end the connection.
            self.lost(1)
        elif time.monotonic() - begin < ABORTED / 2:
            self.count.aborted += 1
        else:
            self.count.unsure += 1

    # Aborts a response that the client's narrow window holds back.
    def aborts_download(self):
        self.close()
        c = self.connect_to(self.connect_narrow)
        begin = time.monotonic()
        c.send(get("/large/a"))
        header = c.header()
        if header is None:
            self.lost(1)
        else:
            self.count.aborted += 1
        c.reset_now()
        self.spent(begin)

    def connect_narrow(self):
        c = self.connect()
        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return c

    def aborts_upload(self):
        c = self.connected()
        begin = time.monotonic()
        if self.random.random() < 0.5:
            c.send(post("/echo/a", b"Content-Length: 100000\r\n", bytes(self.random.randint(0, 50000))))
        else:
            c.send(post("/echo/a", CHUNKED, b"5\r\nhello\r\nffff\r\n" + bytes(self.random.randint(0, 50000))))
        self.aborted(c, begin)

    def connects_only(self):
        c = self.connect_to(self.connect)
        if self.random.random() < 0.5:
            c.finish()
        c.close()

    def after_proxy_header(self):
        self.close()
        self.connection = self.connect_to(lambda: client.Connection(self.addresses["proxy"], self.count))
        header = self.random.choice(http1_unusual.PROXY_HEADERS)
        self.left = 3
        self.ask(("GET", header + get("/cl/k")))
        for _ in range(self.random.randint(0, 2)):
            if self.connection.closed:
                return
            self.ask(("GET", get("/cl/k")))
        self.close()

    def unusual(self):
        http1_unusual.send(self)
