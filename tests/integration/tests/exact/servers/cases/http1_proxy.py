# The PROXY protocol, versions 1 and 2, before the first request.
from http1 import case, get


V1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"
V1_6 = b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n"
UNKNOWN = b"PROXY UNKNOWN\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V2 = SIGNATURE + b"\x21\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\xdc\4\1\xbb"
V2_TLV = SIGNATURE + b"\x21\x11\0\x1f\xc0\0\2\1\xc0\0\2\2\xdc\4\1\xbb" + b"\x05\0\x10" + b"GET / HTTP/1.1\r\n"
V2_LOCAL = SIGNATURE + b"\x20\0\0\0"


@case("proxy")
def proxy_protocol(t):
    for header in (V1, V1_6, UNKNOWN, V2, V2_TLV, V2_LOCAL):
        # nginx closes a connection if the first segment has only a part of the header.
        for how in ("one segment", "two", "bytes")[: 2 if "proxy_whole" in t.features else 3]:
            c = t.connect(proxy_protocol=True)
            if how == "one segment":
                c.send(header + get("/cl"))
            elif how == "two":
                c.send(header, 0)
                yield {"in_flight": 0}
                c.send(get("/cl"))
            else:
                c.drip(header + get("/cl"))
            c.response()
            for _ in range(2):
                if not c.closed:
                    c.send(get("/cl"))
                    c.response()
            c.close()
        yield {}


@case("proxy")
def proxy_protocol_alone(t):
    for header in (V1, V2, V2_LOCAL):
        c = t.connect(proxy_protocol=True)
        c.send(header, 0)
        c.finish()
        c.drain()
    yield {}
