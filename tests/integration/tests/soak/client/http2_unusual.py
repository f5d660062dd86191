# Unusual HTTP/2: errors of a stream, errors of the connection, and forms that few clients use.
import struct
import time

import tally
from h2client import *

GET = request("/cl/o")
END = END_HEADERS | END_STREAM


# Sends frames that few clients send, as one request on the stream. Servers accept them, or end the stream.
def padded(c, stream):
    c.send(HEADERS, END_HEADERS, stream, request("/echo/o", method=b"POST"))
    c.send(DATA, PADDED, stream, b"\x05hello" + bytes(5))
    c.send(DATA, PADDED | END_STREAM, stream, b"\xff" + bytes(255))


def priority(c, stream):
    c.send(PRIORITY, 0, stream, struct.pack(">IB", 0, 7))
    c.send(HEADERS, END | PADDED | HAS_PRIORITY, stream, b"\x09" + struct.pack(">IB", 0, 200) + GET + bytes(9))


def continuation(c, stream):
    head = request("/cl/o", (b"x-large", b"l" * 3000))
    c.send(HEADERS, END_STREAM, stream, head[:1000])
    c.send(CONTINUATION, 0, stream, head[1000:2000])
    c.send(CONTINUATION, END_HEADERS, stream, head[2000:])


def single_bytes(c, stream):
    for byte in frame(HEADERS, END, stream, GET):
        c.raw(bytes([byte]))


def field_in_capitals(c, stream):
    c.send(HEADERS, END, stream, request("/cl/o", (b"X-UPPER", b"1")))


def field_of_a_connection(c, stream):
    c.send(HEADERS, END, stream, request("/cl/o", (b"connection", b"keep-alive")))


def no_scheme(c, stream):
    c.send(HEADERS, END, stream, block((b":method", b"GET"), (b":path", b"/cl/o")))


def length_too_large(c, stream):
    c.send(HEADERS, END_HEADERS, stream, request("/echo/o", (b"content-length", b"9"), method=b"POST"))
    c.send(DATA, END_STREAM, stream, b"hello")


def reset_at_once(c, stream):
    c.raw(frame(HEADERS, END, stream, GET) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))


REQUESTS = (
    padded,
    priority,
    continuation,
    single_bytes,
    field_in_capitals,
    field_of_a_connection,
    no_scheme,
    length_too_large,
    reset_at_once,
)

# Errors of the connection. They contain no request: the server sends GOAWAY and closes.
ERRORS = (
    frame(HEADERS, END, 2, request("/cl/o")),
    frame(DATA, END_STREAM, 0, b"hello"),
    frame(PING, 0, 0, b"123456789"),
    frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0)),
    frame(CONTINUATION, END_HEADERS, 3001, b""),
    b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" * 3,
)

CLOSES_WITHIN = 2


# Sends one unusual request or one error on a connection that has often had ordinary requests.
def send(traffic):
    c = traffic.connected(fresh=traffic.random.random() < 0.3)
    count = traffic.count
    count.unusual += 1
    begin = time.monotonic()
    aside = c.count = tally.Tally()
    if traffic.random.random() < 0.7:
        traffic.operation = send_request(traffic, c, aside)
    else:
        number = traffic.random.randrange(len(ERRORS))
        traffic.operation = f"error {number}"
        c.raw(ERRORS[number])
    c.socket.settimeout(CLOSES_WITHIN)
    c.finish()
    try:
        c.drain()
        c.close()
    except OSError:
        # Node leaves the connection open after some errors.
        c.reset_now()
    c.count = count
    count.note(f"unusual: {traffic.operation}", 1)
    traffic.spent(begin)


# Whether the server answers with a response or a reset, and with which status, is the server's decision.
def send_request(traffic, c, aside):
    write = traffic.random.choice(REQUESTS)
    stream = c.stream()
    write(c, stream)
    if write is reset_at_once:
        c.reset.add(stream)
    c.until(stream)
    traffic.count.requests += 1
    traffic.count.unsure += 1
    traffic.count.unanswered += aside.responses == 0
    return write.__name__
