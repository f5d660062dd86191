# Requests that are not valid, or that many servers refuse. Each server decides what it answers.
from http1 import CHUNKED, case, get, in_turn, post


MALFORMED = {
    "no_colon": get("/cl", b"Bad header line\r\n"),
    "control_in_target": b"GET /\x01 HTTP/1.1\r\nHost: test\r\n\r\n",
    "blank_in_target": b"GET /a b HTTP/1.1\r\nHost: test\r\n\r\n",
    "version_1_9": get("/cl", version=b"HTTP/1.9"),
    "version_9_9": get("/cl", version=b"HTTP/9.9"),
    "version_garbage": get("/cl", version=b"HTTQ/1.1"),
    "no_version": b"GET /cl\r\n\r\n",
    "length_not_a_number": post("/echo", b"Content-Length: abc\r\n", b"hello"),
    "length_negative": post("/echo", b"Content-Length: -5\r\n", b"hello"),
    "length_plus": post("/echo", b"Content-Length: +5\r\n", b"hello"),
    "lengths_differ": post("/echo", b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!"),
    "lengths_equal": post("/echo", b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"),
    "length_and_chunked": post("/echo", b"Content-Length: 15\r\n" + CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"),
    "unknown_coding": post("/echo", b"Transfer-Encoding: rot13\r\nContent-Length: 5\r\n", b"hello"),
    "chunk_size_garbage": post("/echo", CHUNKED, b"zz\r\nhello\r\n0\r\n\r\n"),
    "chunk_too_long": post("/echo", CHUNKED, b"3\r\nhello\r\n0\r\n\r\n"),
    "no_host": b"GET /cl HTTP/1.1\r\n\r\n",
    "two_hosts": get("/cl", b"Host: other\r\n"),
    "blank_before_colon": get("/cl", b"Name : value\r\n"),
    "folded_field": get("/cl", b"Name: value\r\n more\r\n"),
    "empty_name": get("/cl", b": value\r\n"),
    "nul_in_value": get("/cl", b"Name: a\0b\r\n"),
    "cr_in_value": get("/cl", b"Name: a\rb\r\n"),
    "target_without_slash": b"GET cl HTTP/1.1\r\nHost: test\r\n\r\n",
    "star_target": b"OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n",
    "connect_authority": b"CONNECT test:80 HTTP/1.1\r\nHost: test:80\r\n\r\n",
    "trace": get("/cl", method=b"TRACE"),
    "method_not_a_token": b"GE(T / HTTP/1.1\r\nHost: test\r\n\r\n",
    "leading_blank": b" GET /cl HTTP/1.1\r\nHost: test\r\n\r\n",
    "two_blanks": b"GET  /cl HTTP/1.1\r\nHost: test\r\n\r\n",
    "tab_for_blank": b"GET\t/cl\tHTTP/1.1\r\nHost: test\r\n\r\n",
    "bytes": b"\x00\x01\x02\xff\xfe garbage\r\n\r\n",
    "letters": b"hello\r\n\r\n",
    "tls": bytes.fromhex("160301002f0100002b0303" + "00" * 32 + "000004130113020100"),
}
# These may make the connection opaque.
OPAQUE = set(
    "bytes letters tls leading_blank method_not_a_token tab_for_blank no_version version_garbage version_9_9 "
    "length_not_a_number length_negative length_plus lengths_differ unknown_coding chunk_size_garbage chunk_too_long".split()
)


# Sends each of these requests on a connection of its own, and then two ordinary ones.
def malformed(t, *names):
    for name in names:
        c = t.connect()
        c.send(MALFORMED[name])
        c.count.opaque += name in OPAQUE
        method = "CONNECT" if name == "connect_authority" else "GET"
        # Some servers wait for more: the end of the sending direction ends the wait.
        c.responses_for_now(method)
        c.finish()
        c.responses_for_now(method)
        c.close()
    in_turn(t, *[("GET", get("/cl"))] * 2)


def group(title, *names):
    def run(t):
        malformed(t, *names)
        yield {}

    run.__name__ = f"malformed_{title}"
    case()(run)


group("target", "control_in_target", "blank_in_target", "target_without_slash", "star_target", "connect_authority")
group("line", "two_blanks", "tab_for_blank", "leading_blank", "trace", "method_not_a_token")
group("version", "version_1_9", "version_9_9", "version_garbage", "no_version")
group("length", "length_not_a_number", "length_negative", "length_plus", "lengths_differ", "lengths_equal")
group("body", "length_and_chunked", "unknown_coding", "chunk_size_garbage", "chunk_too_long")
group("host", "no_host", "two_hosts")
group("field", "no_colon", "blank_before_colon", "folded_field", "empty_name", "nul_in_value", "cr_in_value")
group("bytes", "bytes", "letters", "tls")


@case()
def malformed_after_good(t):
    for name in ("bytes", "no_colon", "length_not_a_number", "letters"):
        c = t.connect()
        c.send(get("/cl"))
        c.response()
        if c.closed:
            break
        c.send(MALFORMED[name])
        c.count.opaque += name in OPAQUE
        c.responses_for_now()
        c.finish()
        c.responses_for_now()
    yield {}
