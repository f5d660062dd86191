# Requests that stay in flight until the test ends them: slow ones, tunnels, and those that a client aborts.
from http1 import CHUNKED, case, get, post


# Sends each of these beginnings of a request, and then ends the connection, in every way that the server allows.
def aborted(t, *parts):
    for end in t.ends:
        for part in parts:
            c = t.connect()
            c.send(part)
            if end == "reset":
                yield {"in_flight": 1}
                c.reset_now()
            else:
                c.finish()
                c.responses()
            yield {}


@case()
def aborted_mid_header(t):
    yield from aborted(t, b"G", b"GET /cl HT", get("/cl")[:-4], get("/cl")[:-1], get("/cl")[:-2])


@case()
def aborted_mid_body(t):
    yield from aborted(
        t,
        post("/echo", b"Content-Length: 10\r\n", b"hello"),
        post("/echo", CHUNKED, b"5\r\nhel"),
        post("/echo", CHUNKED, b"5\r\nhello\r\n"),
    )


@case("half")
def aborted_mid_response(t):
    for end in t.ends:
        name = t.name()
        c = t.connect()
        c.send(get(f"/half/{name}"))
        c.header()
        yield {"in_flight": 1}
        if end == "reset":
            c.reset_now()
            yield {"in_flight": 0}
            t.release(name)
        else:
            c.finish()
            t.release(name)
            c.rest("GET", 200, {"transfer-encoding": "chunked", "x-app": ""})
        yield {}


@case("slow")
def several_in_flight(t):
    name = t.name()
    connections = [t.connect() for _ in range(7)]
    for c in connections:
        c.send(get(f"/slow/{name}"))
    yield {"in_flight": 7}
    t.release(name)
    for c in connections:
        c.response()
    yield {}


@case("slow")
def pipelined_in_flight(t):
    name = t.name()
    c = t.connect()
    c.send(get(f"/slow/{name}") * 4, 4)
    yield {"in_flight": 4}
    t.release(name)
    for _ in range(4):
        c.response()
    yield {}


@case("half")
def downloads_in_flight(t):
    name = t.name()
    connections = [t.connect() for _ in range(t.at_once)]
    for c in connections:
        c.send(get(f"/half/{name}"))
    headers = [c.header() for c in connections]
    yield {"in_flight": t.at_once}
    t.release(name)
    for c, header in zip(connections, headers):
        c.rest("GET", *header)
    yield {}


WS = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
TEXT = b"\x81\x85\0\0\0\0hello"
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"


@case("ws")
def websocket(t):
    for end in ("close", "reset"):
        c = t.connect()
        c.send(get("/ws", WS))
        assert c.response() == 101
        c.send(TEXT, 0)
        c.fill()
        yield {"in_flight": 1, "upgraded": 1}
        if end == "close":
            c.send(CLOSE, 0)
            c.finish()
            c.drain()
        else:
            c.reset_now()
        yield {}


@case()
def websocket_refused(t):
    c = t.connect()
    c.send(get("/cl", WS))
    if c.response() == 101:
        c.reset_now()
    c.send_if_open(get("/cl"))
    yield {}
