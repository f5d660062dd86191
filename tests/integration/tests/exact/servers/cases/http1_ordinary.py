# Requests and responses that RFC 9112 allows, and what servers accept beyond it.
from http1 import CHUNKED, case, get, in_turn, post


@case()
def keep_alive(t):
    in_turn(t, *[("GET", get("/cl"))] * 5)
    yield {}


@case("chunked")
def chunked_response(t):
    in_turn(t, *[("GET", get("/chunked"))] * 3, ("GET", get("/cl")))
    yield {}


@case("close")
def no_length_then_close(t):
    in_turn(t, *[("GET", get("/close"))] * 3)
    yield {}


@case()
def head(t):
    for path in ("/cl", "/large"):
        in_turn(t, ("HEAD", get(path, method=b"HEAD")), ("GET", get("/cl")))
    yield {}


@case()
def status_204_304_404(t):
    in_turn(t, *[("GET", get(path)) for path in ("/204", "/cl", "/304", "/cl", "/404", "/cl")])
    yield {}


@case()
def large_response(t):
    in_turn(t, *[("GET", get("/large"))] * 3)
    yield {}


@case()
def post_length(t):
    in_turn(
        t,
        *[("POST", post("/echo", b"Content-Length: 5\r\n", b"hello"))] * 3,
        ("POST", post("/echo", b"Content-Length: 0\r\n")),
        ("POST", post("/echo", b"Content-Length: 300000\r\n", bytes(300000))),
        ("POST", post("/echo", b"Content-Length: 39\r\n", b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n1")),
        ("GET", get("/cl")),
    )
    yield {}


@case()
def post_chunked(t):
    in_turn(
        t,
        *[("POST", post("/echo", CHUNKED, b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"))] * 3,
        ("POST", post("/echo", CHUNKED, b"5;name=value\r\nhello\r\n0\r\n\r\n")),
        ("POST", post("/echo", CHUNKED, b"0\r\n\r\n")),
        ("GET", get("/cl")),
    )
    yield {}


@case()
def request_trailers(t):
    data = b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
    in_turn(t, ("POST", post("/echo", CHUNKED + b"Trailer: X-Sum\r\n", data)), ("GET", get("/cl")))
    yield {}


@case("trailers")
def response_trailers(t):
    in_turn(t, *[("GET", get("/trailers", b"TE: trailers\r\n"))] * 2, ("GET", get("/cl")))
    yield {}


@case()
def pipelined_in_one_segment(t):
    c = t.connect()
    c.send(get("/cl") * 5, 5)
    for _ in range(5):
        c.response()
    if c.closed:
        c = t.connect()
    sized = post("/echo", b"Content-Length: 5\r\n", b"hello")
    c.send(sized * 3 + post("/echo", CHUNKED, b"1\r\nx\r\n0\r\n\r\n") + get("/cl"), 5)
    for _ in range(5):
        c.response()
    yield {}


@case("early")
def early_hints(t):
    in_turn(t, *[("GET", get("/early"))] * 3, ("GET", get("/cl")))
    yield {}


@case()
def expectation_accepted(t):
    for _ in range(2):
        c = t.connect()
        for _ in range(2):
            if c.closed:
                c = t.connect()
            c.send(post("/echo", b"Expect: 100-continue\r\nContent-Length: 5\r\n"))
            header = c.header()
            if header and header[0] == 100:
                c.send(b"hello", 0)
                c.response()
            elif header:
                c.rest("POST", *header)
                if not c.closed:
                    c.send(b"hello", 0)
        yield {}


# The server refuses the expectation. If it keeps the connection, the client sends `rest`, with one more request in it.
def refused(t, rest):
    for _ in range(3):
        c = t.connect()
        c.send(post("/refuse", b"Expect: 100-continue\r\nContent-Length: 5\r\n"))
        header = c.header()
        if header and header[0] == 100:
            c.send(b"hello", 0)
            c.response("POST")
            rest = get("/cl")
        elif header:
            c.rest("POST", *header)
        c.send_if_open(rest)


@case("refuse")
def expectation_refused_then_body(t):
    refused(t, b"hello" + get("/cl"))
    yield {}


@case("refuse")
def expectation_refused_then_request(t):
    refused(t, get("/cl"))
    yield {}


@case("refuse")
def refused_while_the_body_comes(t):
    for _ in range(3):
        c = t.connect()
        c.send(post("/refuse", b"Content-Length: 5\r\n"))
        c.send(b"hello", 0)
        c.response("POST")
        c.send_if_open(get("/cl"))
    yield {}


@case()
def unknown_expectation(t):
    c = t.connect()
    c.send(post("/echo", b"Expect: 200-ok\r\nContent-Length: 5\r\n", b"hello"))
    c.response("POST")
    # Apache closes the connection without announcing it.
    c.finish()
    c.drain()
    in_turn(t, ("GET", get("/cl")))
    yield {}


@case()
def single_byte_segments(t):
    c = t.connect()
    for data in (
        get("/cl"),
        post("/echo", CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"),
        post("/echo", b"Content-Length: 5\r\n", b"hello"),
        get("/cl"),
    ):
        if c.closed:
            c = t.connect()
        c.drip(data)
        c.response()
    yield {}


@case()
def absolute_form(t):
    in_turn(t, *[("GET", get("http://test/cl"))] * 3, ("GET", get("/cl")))
    yield {}


@case()
def odd_methods(t):
    methods = b"PROPFIND PURGE get patch M-SEARCH X!#$%&'*+-.^_`|~1 DELETE OPTIONS PUT".split()
    in_turn(t, *[("GET", get("/cl", method=method)) for method in methods], ("GET", get("/cl")))
    yield {}


@case()
def header_of_16_kib(t):
    for size in (4000, 7000, 16384, 70000):
        c = t.connect()
        c.send(get("/cl", b"X-Large: " + b"l" * size + b"\r\n"))
        c.response()
        c.send_if_open(get("/cl"))
    yield {}


@case()
def many_fields(t):
    c = t.connect()
    c.send(get("/cl", b"".join(b"X-%d: value\r\n" % i for i in range(90))))
    c.response()
    yield {}


@case()
def http_1_0(t):
    for _ in range(3):
        c = t.connect()
        c.send(get("/cl", version=b"HTTP/1.0"))
        c.response()
        c.drain()
    c = t.connect()
    c.send(b"GET /cl HTTP/1.0\r\n\r\n")
    c.response()
    yield {}


@case("chunked")
def http_1_0_without_length(t):
    for _ in range(3):
        c = t.connect()
        c.send(get("/chunked", version=b"HTTP/1.0"))
        c.response()
    yield {}


@case()
def http_1_0_kept(t):
    for _ in range(2):
        c = t.connect()
        c.send(get("/cl", b"Connection: keep-alive\r\n", b"HTTP/1.0"))
        c.response()
        # Some servers close the connection nevertheless, without announcing it.
        c.send_if_open(get("/cl", b"Connection: keep-alive\r\n", b"HTTP/1.0"))
    yield {}


@case()
def connection_close(t):
    for _ in range(3):
        c = t.connect()
        c.send(get("/cl", b"Connection: close\r\n"))
        c.response()
        c.drain()
    yield {}


# Java and old versions of gunicorn wait for the CR.
@case()
def lf_only(t):
    for data in (get("/cl"), post("/echo", b"Content-Length: 5\r\n", b"hello")):
        c = t.connect()
        c.send(data.replace(b"\r\n", b"\n"))
        c.responses_for_now()
        if not t.count.responses:
            c.reset_now()
        c.send_if_open(get("/cl"))
    yield {}


@case("empty_lines")
def empty_lines_between(t):
    for lines in (b"\r\n", b"\r\n\r\n", b"\n"):
        in_turn(t, ("GET", get("/cl")), *[("GET", lines + get("/cl"))] * 3)
    yield {}


@case()
def connections_without_a_request(t):
    for _ in range(3):
        t.connect().finish()
        t.connect().reset_now()
    idle = t.connect()
    yield {"in_flight": 0}
    idle.send(get("/cl"))
    idle.response()
    yield {}
