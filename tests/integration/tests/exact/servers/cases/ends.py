# The ends of a server: see http1.py. With "signal", a case asks the test to send this signal to the server.
import socket
import time

from http1 import adds_to, get

CASES = {}
case = adds_to(CASES)


# Waits until the server accepts no connection, at most half a second: a master process may keep the socket open.
def refuses(t):
    ends = time.monotonic() + 0.5
    while time.monotonic() < ends:
        try:
            socket.create_connection(t.tcp, timeout=1).close()
        except OSError:
            return
        time.sleep(0.01)


@case("reload", "slow")
def reload(t):
    held = []
    names = []
    for _ in range(3):
        names.append(t.name())
        held += [t.connect() for _ in range(4)]
        for c in held[-4:]:
            c.send(get(f"/slow/{names[-1]}"))
        yield {"in_flight": len(held)}
        yield {"signal": "reload"}
        for _ in range(100):
            c = t.connect()
            c.send(get("/cl", b"Connection: close\r\n"))
            c.response()
            c.close()
    for name in names:
        t.release(name)
    for c in held:
        c.response()
    yield {"in_flight": 0}


@case("slow", "h1")
def stop(t):
    name = t.name()
    idle = t.connect()
    idle.send(get("/cl"))
    idle.response()
    held = [t.connect() for _ in range(t.at_once)]
    for c in held:
        c.send(get(f"/slow/{name}"))
    yield {"in_flight": len(held)}
    yield {"signal": "stop"}
    refuses(t)
    t.release(name)
    for c in held:
        c.response()
        c.finish()
    idle.finish()
    for c in held + [idle]:
        c.drain()
    yield {"in_flight": 0}


@case("slow", "h2", "h2only")
def h2_stop(t):
    name = t.name()
    c = t.h2()
    c.until(c.get("/cl"))
    streams = [c.get(f"/slow/{name}") for _ in range(5)]
    yield {"in_flight": 5}
    yield {"signal": "stop"}
    refuses(t)
    t.release(name)
    c.until(*streams)
    c.finish()
    c.drain()
    yield {"in_flight": 0}
