# Ordinary traffic of HTTP/2, and one unusual message in a hundred.
import time

import h2client
import http2_unusual
import traffic
from h2client import DATA, END_STREAM, HEADERS, END_HEADERS, PING, block

PROBE = (b"user-agent", b"kube-probe/1.31")

# How long the server waits with the response that the client does not wait for, in milliseconds.
ABORTED = 400


class Traffic(traffic.Traffic):
    OPERATIONS = (
        ("several", 30, None),
        ("mixed", 20, None),
        ("posts", 12, None),
        ("downloads", 3, None),
        ("upload", 2, None),
        ("waits", 10, None),
        ("trailers", 2, "trailers"),
        ("pings", 2, None),
        ("probe", 1, None),
        ("cancels", 3, None),
        ("aborts", 2, None),
    )

    UNUSUAL = 0.06

    def connect(self):
        return h2client.Connection(self.addresses["http2"], self.count)

    # Whether the connection is open. Frames of the connection may have come since the last operation.
    def is_open(self):
        c = self.connection
        while c is not None and not c.closed and traffic.waits(c):
            try:
                c.receive()
            except OSError:
                c.close()
        if c is not None and c.goaway and not c.closed:
            c.close()
        return c is not None and not c.closed

    # Waits for the ends of streams, of which the responses have these statuses.
    def answered(self, c, begin, streams):
        self.left -= len(streams)
        c.until(*streams)
        for stream, status in streams.items():
            if stream in c.ended:
                self.count.statuses.append(status)
                self.count.kept += 1
            else:
                self.lost(1)
            self.spent(begin)
        all_ended = c.ended.issuperset(streams)
        if not all_ended:
            c.close()
        return all_ended

    def several(self):
        c, begin = self.connected(), time.monotonic()
        self.answered(c, begin, {c.get("/cl/k"): 200 for _ in range(self.random.randint(1, 10))})

    def mixed(self):
        c, begin = self.connected(), time.monotonic()
        streams = {}
        for _ in range(self.random.randint(2, 12)):
            path, status = self.random.choice((("/cl/k", 200), ("/204/k", 204), ("/304/k", 304), ("/404/k", 404)))
            streams[c.get(path)] = status
        streams[c.get("/cl/k", method=b"HEAD")] = 200
        self.answered(c, begin, streams)

    def posts(self):
        c, begin = self.connected(), time.monotonic()
        streams = {}
        for _ in range(self.random.randint(1, 5)):
            stream = c.get("/echo/k", method=b"POST", end=False)
            for _ in range(self.random.randint(0, 3)):
                c.send(DATA, 0, stream, bytes(self.random.choice((0, 1, 100, 2000))))
            if "request_trailers" in self.features and self.random.random() < 0.2:
                c.send(HEADERS, END_HEADERS | END_STREAM, stream, block((b"x-sum", b"1")))
            else:
                c.send(DATA, END_STREAM, stream, b"hello")
            streams[stream] = 200
        self.answered(c, begin, streams)

    def downloads(self):
        c, begin = self.connected(), time.monotonic()
        self.answered(c, begin, {c.get("/large/k"): 200 for _ in range(self.random.randint(1, 3))})
        # The client has opened the window of a connection for so many bytes, and does not open it again.
        self.left -= 50

    # A window of 64 KiB suffices.
    def upload(self):
        c, begin = self.connected(fresh=True), time.monotonic()
        stream = c.get("/echo/k", method=b"POST", end=False)
        for _ in range(3):
            c.send(DATA, 0, stream, bytes(16000))
        c.send(DATA, END_STREAM, stream)
        self.answered(c, begin, {stream: 200})

    def waits(self):
        c, begin = self.connected(), time.monotonic()
        waits = [self.random.randint(1, 60) for _ in range(self.random.randint(1, 8))]
        if self.answered(c, begin, {c.get(f"/wait/k{wait}"): 200 for wait in waits}):
            self.count.least += sum(waits) * 1000

    def trailers(self):
        c, begin = self.connected(), time.monotonic()
        self.answered(c, begin, {c.get("/trailers/k", (b"te", b"trailers")): 200})

    def pings(self):
        c, begin = self.connected(), time.monotonic()
        c.send(PING, 0, 0, b"12345678")
        self.answered(c, begin, {c.get("/cl/k"): 200})

    def probe(self):
        c = self.connected()
        stream = c.get("/cl/e", PROBE)
        c.until(stream)
        self.count.requests -= 1
        if stream in c.ended:
            self.count.excluded += 1
        else:
            self.count.maybe += 1
            c.close()

    # Resets some of its streams.
    def cancels(self):
        c, begin = self.connected(), time.monotonic()
        cancelled = [c.get(f"/wait/a{ABORTED}") for _ in range(self.random.randint(1, 4))]
        kept = {c.get("/cl/k"): 200 for _ in range(self.random.randint(0, 3))}
        if self.random.random() < 0.5:
            self.answered(c, begin, kept)
            kept = {}
        c.cancel(*cancelled)
        took = time.monotonic() - begin
        self.spent(begin, len(cancelled))
        if kept:
            self.answered(c, begin, kept)
        self.gave_up(len(cancelled), took)

    # Resets a connection with streams in flight.
    def aborts(self):
        c, begin = self.connected(), time.monotonic()
        streams = [c.get(f"/wait/a{ABORTED}") for _ in range(self.random.randint(1, 4))]
        time.sleep(self.random.choice((0, 0.005, 0.05)))
        self.gave_up(len(streams), time.monotonic() - begin)
        c.reset_now()
        self.spent(begin, len(streams))

    # Records streams that the client gave up after this time, in seconds. If the server has closed the connection, the
    # requests may have come to a closed socket.
    def gave_up(self, streams, took):
        if not self.is_open():
            self.lost(streams)
        elif took < ABORTED / 2000:
            self.count.aborted += streams
        else:
            self.count.unsure += streams

    def unusual(self):
        http2_unusual.send(self)
