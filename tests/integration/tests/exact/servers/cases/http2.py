# The HTTP/2 cases; see http1.py.
import struct

from http1 import adds_to
from http1 import get as http1_get
from h2client import *

CASES = {}
case = adds_to(CASES, "h2_")


@case()
def requests(t):
    c = t.h2()
    for _ in range(5):
        c.until(c.get("/cl"))
    c.until(*[c.get("/cl") for _ in range(20)])
    c.until(c.get("/cl", method=b"HEAD"), c.get("/204"), c.get("/304"), c.get("/404"), c.get("/cl", method=b"PURGE"))
    yield {}


@case()
def requests_in_one_segment(t):
    c = t.h2(greet=False)
    streams = [c.stream() for _ in range(10)]
    c.count.requests += 10
    heads = [frame(HEADERS, END_HEADERS | END_STREAM, s, request("/cl")) for s in streams]
    c.raw(PREFACE + frame(SETTINGS, 0, 0) + b"".join(heads))
    c.until(*streams)
    yield {}


@case()
def single_byte_segments(t):
    c = t.h2(greet=False)
    s = c.stream()
    c.count.requests += 1
    # Apache takes the preface for HTTP/1 if it does not come in one segment.
    c.raw(PREFACE)
    for byte in frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS | END_STREAM, s, request("/cl")):
        c.raw(bytes([byte]))
    c.until(s)
    yield {}


@case()
def bodies(t):
    c = t.h2()
    s = c.get("/echo", method=b"POST", end=False)
    c.send(DATA, 0, s, b"hel")
    c.send(DATA, END_STREAM, s, b"lo")
    c.until(s)
    s = c.get("/echo", (b"content-length", b"5"), method=b"POST", end=False)
    c.send(DATA, 0, s, b"hello")
    c.send(DATA, END_STREAM, s)
    c.until(s)
    yield {}


@case()
def padded_data(t):
    c = t.h2()
    for _ in range(3):
        s = c.get("/echo", method=b"POST", end=False)
        c.send(DATA, PADDED, s, b"\x05hello" + bytes(5))
        c.send(DATA, PADDED | END_STREAM, s, b"\xff" + bytes(255))
        c.until(s)
        if s in c.reset:
            # HAProxy 2.6 does not accept padded data.
            break
    yield {}


@case()
def padded_header_and_priority(t):
    c = t.h2()
    streams = []
    for _ in range(3):
        s = c.stream()
        c.count.requests += 1
        c.send(PRIORITY, 0, s, struct.pack(">IB", 0, 7))
        head = b"\x09" + struct.pack(">IB", 0, 200) + request("/echo", method=b"POST") + bytes(9)
        c.send(HEADERS, END_HEADERS | PADDED | HAS_PRIORITY, s, head)
        c.send(DATA, END_STREAM, s, b"hello")
        c.send(PRIORITY, 0, s + 100, struct.pack(">IB", s, 1))
        streams.append(s)
    c.until(*streams)
    yield {}


@case()
def continuation(t):
    c = t.h2()
    for pieces in (2, 5):
        s = c.stream()
        c.count.requests += 1
        head = request("/cl", (b"x-large", b"l" * 3000))
        size = len(head) // pieces
        c.send(HEADERS, END_STREAM, s, head[:size])
        for i in range(1, pieces - 1):
            c.send(CONTINUATION, 0, s, head[i * size : (i + 1) * size])
        c.send(CONTINUATION, END_HEADERS, s, head[(pieces - 1) * size :])
        c.until(s)
    yield {}


@case()
def request_trailers(t):
    c = t.h2()
    s = c.get("/echo", (b"trailer", b"x-sum"), method=b"POST", end=False)
    c.send(DATA, 0, s, b"hello")
    c.send(HEADERS, END_HEADERS | END_STREAM, s, block((b"x-sum", b"1")))
    if c.until(s) and not c.goaway:
        c.until(c.get("/cl"))
    yield {}


@case("trailers")
def response_trailers(t):
    c = t.h2()
    c.until(*[c.get("/trailers", (b"te", b"trailers")) for _ in range(3)])
    yield {}


@case("early")
def early_hints(t):
    c = t.h2()
    c.until(*[c.get("/early") for _ in range(3)])
    yield {}


@case("slow")
def many_in_flight(t):
    c = t.h2()
    name = t.name()
    streams = [c.get(f"/slow/{name}") for _ in range(20)]
    yield {"in_flight": 20}
    t.release(name)
    c.until(*streams)
    yield {}


@case("slow")
def several_connections_in_flight(t):
    name = t.name()
    connections = [t.h2() for _ in range(3)]
    streams = [(c, c.get(f"/slow/{name}")) for c in connections for _ in range(4)]
    yield {"in_flight": 12}
    t.release(name)
    for c, s in streams:
        c.until(s)
    yield {}


@case("slow")
def cancelled(t):
    c = t.h2()
    name = t.name()
    streams = [c.get(f"/slow/{name}") for _ in range(6)]
    yield {"in_flight": 6}
    c.cancel(*streams[:4])
    yield {"in_flight": 2}
    t.release(name)
    c.until(*streams[4:])
    c.until(c.get("/cl"))
    yield {}


@case("half")
def cancelled_in_the_body(t):
    c = t.h2()
    name = t.name()
    streams = [c.get(f"/half/{name}") for _ in range(4)]
    yield {"in_flight": 4}
    c.cancel(*streams[:2])
    yield {"in_flight": 2}
    t.release(name)
    c.until(*streams[2:])
    yield {}


@case()
def cancelled_at_once(t):
    c = t.h2()
    for _ in range(10):
        s = c.stream()
        c.count.requests += 1
        c.reset.add(s)
        head = frame(HEADERS, END_HEADERS | END_STREAM, s, request("/cl"))
        c.raw(head + frame(RST_STREAM, 0, s, struct.pack(">I", 8)))
    c.until(c.get("/cl"))
    yield {}


@case()
def flow_control(t):
    c = t.h2(window=1000)
    streams = [c.get("/large") for _ in range(3)]
    yield {"in_flight": 3}
    for s in streams:
        c.send(WINDOW_UPDATE, 0, s, struct.pack(">I", 400000))
    yield {"in_flight": 3}
    c.cancel(streams[2])
    yield {"in_flight": 2}
    for s in streams[:2]:
        c.send(WINDOW_UPDATE, 0, s, struct.pack(">I", 1 << 20))
    c.until(*streams[:2])
    yield {}


@case()
def large_responses(t):
    c = t.h2()
    c.until(*[c.get("/large") for _ in range(5)])
    yield {}


@case()
def small_floods(t):
    c = t.h2()
    s = c.get("/cl")
    c.raw((frame(PING, 0, 0, b"12345678") + frame(SETTINGS, 0, 0)) * 20)
    c.until(s, c.get("/cl"))
    yield {}


@case("slow")
def aborted(t):
    for end in ("reset", "goaway", "finish")[: 2 if "lingers" in t.features else 3]:
        c = t.h2()
        name = t.name()
        streams = [c.get(f"/slow/{name}") for _ in range(3)]
        yield {"in_flight": 3}
        if end == "reset":
            c.reset_now()
            yield {"in_flight": 0}
            t.release(name)
        elif end == "finish":
            c.finish()
            t.release(name)
            c.drain()
            yield {"in_flight": 0}
        else:
            c.send(GOAWAY, 0, 0, struct.pack(">II", 0, 0))
            t.release(name)
            c.until(*streams)
        c.close()
        yield {"in_flight": 0}


# Errors of one stream: the server resets it, or answers 400.
@case()
def errors_of_a_stream(t):
    c = t.h2()
    bad = [
        request("/cl", (b"X-UPPER", b"1")),
        request("/cl", (b"connection", b"keep-alive")),
        block((b":method", b"GET"), (b":path", b"/cl")),
        request("/cl", (b":late", b"1")),
    ]
    for head in bad:
        if c.closed or c.goaway:
            c = t.h2()
        s = c.stream()
        c.count.requests += 1
        c.send(HEADERS, END_HEADERS | END_STREAM, s, head)
        c.until(s)
    if c.closed or c.goaway:
        c = t.h2()
    s = c.get("/echo", (b"content-length", b"9"), method=b"POST", end=False)
    c.send(DATA, END_STREAM, s, b"hello")
    c.until(s)
    yield {}


# Errors of the connection: the server sends GOAWAY and closes.
@case()
def errors_of_the_connection(t):
    for name, bytes_ in {
        "even stream": frame(HEADERS, END_HEADERS | END_STREAM, 2, request("/cl")),
        "data without stream": frame(DATA, END_STREAM, 101, b"hello"),
        "data of the connection": frame(DATA, END_STREAM, 0, b"hello"),
        "bad block": frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\xff\xff\xff\xff\xff\xff\xff"),
        "too long": frame(PING, 0, 0, b"123456789"),
        "continuation alone": frame(CONTINUATION, END_HEADERS, 3, b""),
        "window overflow": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0)),
        # Its first bytes are a frame of 4.6 MB.
        "garbage": b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" * 3,
    }.items():
        # Node never closes the connection on which it has refused a header block.
        if name == "bad block" and "leaks" in t.features:
            continue
        c = t.h2()
        c.until(c.get("/cl"))
        # A client must use odd identifiers, so a stream with an even one is no request.
        if name == "bad block":
            c.count.requests += 1
            c.count.opaque += 1
        c.raw(bytes_)
        c.socket.settimeout(0.1)
        try:
            c.drain()
        except TimeoutError:
            pass
        c.finish()
        c.close()
        yield {"in_flight": 0}


@case()
def too_many_streams(t):
    c = t.h2()
    name = t.name()
    streams = [c.get(f"/slow/{name}") for _ in range(300)]
    c.send(PING, 0, 0, b"12345678")
    c.socket.settimeout(1)
    try:
        c.until_kind(PING, ACK)
    except TimeoutError:
        pass
    c.socket.settimeout(5)
    t.release(name)
    if not c.until(*streams):
        # A server that refuses so many streams may close the connection before it has received all of them.
        c.may_be_late(streams)
    yield {}


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


@case("h2c")
def upgrade(t):
    for more in (0, 3):
        c = t.h2(greet=False)
        c.count.requests += 1
        c.raw(http1_get("/cl", UPGRADE))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += c.socket.recv(1)
        assert b" 101 " in head.split(b"\r\n")[0], head
        c.greet()
        c.stream()
        c.until(1)
        streams = [c.get("/cl") for _ in range(more)]
        c.until(*streams)
        # A loaded Apache may send GOAWAY and close right after the first response.
        c.may_be_late(streams)
        yield {}


@case("goaway", "slow")
def goaway_after_1000(t):
    c = t.h2()
    name = t.name()
    held = [c.get(f"/slow/{name}") for _ in range(5)]
    yield {"in_flight": 5}
    while not c.goaway and not c.closed:
        c.until(c.get("/cl"))
    if not c.closed:
        for _ in range(3):
            c.get("/cl")
    yield {"in_flight": 5}
    t.release(name)
    c.until(*held)
    c.socket.settimeout(2)
    c.drain()
    yield {}
