# HTTP/1 messages, and the list of the HTTP/1 cases.
#
# A case is a generator. It yields what the counter must report at that moment, and continues when the counter has
# reported it.

HOST = b"Host: test\r\n"


def get(path, fields=b"", version=b"HTTP/1.1", method=b"GET"):
    return method + b" " + path.encode() + b" " + version + b"\r\n" + HOST + fields + b"\r\n"


def post(path, fields, data=b""):
    return get(path, fields, method=b"POST") + data


CHUNKED = b"Transfer-Encoding: chunked\r\n"
CASES = {}


# Returns a decorator that adds a case to a list, for servers that have all its features.
def adds_to(cases, prefix=""):
    def case(*features):
        def add(function):
            cases[prefix + function.__name__] = (function, features)
            return function

        return add

    return case


case = adds_to(CASES)


# Sends requests one after the other, on one connection as long as the server keeps it.
def in_turn(t, *requests):
    c = t.connect()
    for method, data in requests:
        if c.closed:
            c = t.connect()
        c.send(data)
        if c.response(method) is None and not c.closed:
            c.drain()
    return c
