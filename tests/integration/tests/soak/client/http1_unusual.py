# Unusual messages: what servers refuse, what only some accept, and bytes that are not HTTP. Each server decides what it
# answers.
import time

import tally
from h2client import PREFACE
from http1 import CHUNKED, get, post
from http1_malformed import MALFORMED, OPAQUE
from http1_proxy import UNKNOWN, V1, V1_6, V2, V2_LOCAL, V2_TLV

PROXY_HEADERS = (V1, V1_6, UNKNOWN, V2, V2_LOCAL, V2_TLV)
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
REQUEST = get("/cl/o")

MESSAGES = dict(MALFORMED)
MESSAGES.update(
    # Servers accept these, or refuse them with an ordinary response.
    lf_only=REQUEST.replace(b"\r\n", b"\n"),
    lf_only_post=post("/echo/o", b"Content-Length: 5\r\n", b"hello").replace(b"\r\n", b"\n"),
    blanks_around_a_length=post("/echo/o", b"Content-Length:  \t   5  \t\r\n", b"hello"),
    zeros_before_a_length=post("/echo/o", b"Content-Length: 00000000000000000005\r\n", b"hello"),
    length_on_the_next_line=post("/echo/o", b"Content-Length:\r\n 5\r\n", b"hello"),
    folded_value=get("/cl/o", b"X-Name: value\r\n\tmore\r\n and more\r\n"),
    blanks_after_chunked=post("/echo/o", b"Transfer-Encoding: chunked    \r\n", HELLO),
    chunked_in_capitals=post("/echo/o", b"TRANSFER-ENCODING: CHUNKED\r\n", HELLO),
    chunk_size_of_16_digits=post("/echo/o", CHUNKED, b"0000000000000005\r\nhello\r\n0\r\n\r\n"),
    blanks_after_a_request_line=b"GET /cl/o HTTP/1.1 \r\nHost: test\r\n\r\n",
    empty_lines_before=b"\r\n\r\n" + REQUEST,
    method_in_lower_case=get("/cl/o", method=b"get"),
    method_unknown=get("/cl/o", method=b"M-SEARCH"),
    method_of_all_bytes=get("/cl/o", method=b"X!#$%&'*+-.^_`|~1"),
    chunk_extension=post("/echo/o", CHUNKED, b'5;a="\\"b";c\r\nhello\r\n0;d=e\r\n\r\n'),
    head_of_70_kb=get("/cl/o", b"X-Large: " + b"l" * 70000 + b"\r\n"),
    fields_500=get("/cl/o", b"".join(b"X-%d: value\r\n" % i for i in range(500))),
    absolute_form=get("http://test/cl/o"),
    unknown_expectation=post("/echo/o", b"Expect: 200-ok\r\nContent-Length: 5\r\n", b"hello"),
    # These make the connection opaque, or may do it. (A PROXY header is skipped only before the first request.)
    proxy_header=V1 + REQUEST,
    chunk_extension_with_control_bytes=post("/echo/o", CHUNKED, b"5;\x01\x02=\x03\r\nhello\r\n0\r\n\r\n"),
    chunk_without_line_end=post("/echo/o", CHUNKED, b"5\r\nhello0\r\n\r\n"),
    carriage_return_before=b"\r" + REQUEST,
    carriage_return_for_a_line_end=REQUEST[:-2] + b"\r",
    carriage_return_in_a_name=post("/echo/o", b"Content\rLength: 5\r\n", b"hello"),
    blank_before_the_colon_of_a_length=post("/echo/o", b"Content-Length : 5\r\n", b"hello"),
    coding_in_http_1_0=b"POST /echo/o HTTP/1.0\r\n" + CHUNKED + b"\r\n" + HELLO,
    preface_cut=PREFACE[:20],
    preface_alone=PREFACE,
    preface_and_garbage=PREFACE + b"\xff" * 60,
    proxy_header_cut=V1[:20],
    proxy_header_binary=V2 + REQUEST,
)
UNCERTAIN = OPAQUE | set(
    """chunk_extension_with_control_bytes chunk_without_line_end carriage_return_before carriage_return_for_a_line_end
    carriage_return_in_a_name blank_before_the_colon_of_a_length coding_in_http_1_0 proxy_header""".split()
)
# These are no request, or only perhaps.
NO_REQUEST = set("preface_cut preface_alone preface_and_garbage proxy_header_cut proxy_header_binary".split())
# Some servers read these as a request and the beginning of another one.
PERHAPS_TWO = {"carriage_return_in_a_name"}
NAMES = sorted(MESSAGES)

# How long a client waits for a response before it ends its own direction, and then before it resets the connection, in
# seconds.
ANSWERS_WITHIN = 0.5
CLOSES_WITHIN = 2


# Sends an unusual message, often on a connection that has had ordinary requests, and reads what the server answers.
def send(traffic):
    name = traffic.random.choice(NAMES)
    traffic.operation = name
    c = traffic.connected(fresh=traffic.random.random() < 0.3)
    begin = time.monotonic()
    aside = c.count = tally.Tally()
    c.send(MESSAGES[name])
    in_time = responses(c, "CONNECT" if name == "connect_authority" else "GET")
    count = traffic.count
    count.unusual += 1
    count.note(f"unusual: {name}", 1)
    count.no_request += name in NO_REQUEST | PERHAPS_TWO
    if name not in NO_REQUEST:
        count.requests += 1
        count.unanswered += aside.responses == 0
    if name in UNCERTAIN | NO_REQUEST:
        count.opaque += 1
        count.unsure += aside.responses
    elif not in_time:
        count.unsure += 1
    else:
        for index, responses_ in enumerate(aside.statuses.counts):
            count.statuses.counts[index] += responses_
    c.count = count
    c.close()
    traffic.spent(begin)


# Reads all responses. Returns whether the server has closed the connection.
def responses(c, method):
    try:
        c.socket.settimeout(ANSWERS_WITHIN)
        try:
            c.response(method)
        except TimeoutError:
            pass
        c.finish()
        c.socket.settimeout(CLOSES_WITHIN)
        c.responses(method)
        c.drain()
        return not c.reset
    except (TimeoutError, ValueError, IndexError, OSError):
        c.reset_now()
        return False
