"""A server that is told in which cgroup it opens its listening sockets, and in which cgroup it serves.

It reads commands from standard input, one a line, and answers each with one line:

    enter CGROUP    moves to this cgroup; the answer is the process id
    listen ADDRESS  opens a listening socket on a free port, and serves; the answer is the port
    pass CGROUP     starts a process in this cgroup that gets the newest socket as systemd passes it (sd_listen_fds(3)),
                    and serves instead of this process; the answer is its process id

Ends when standard input is closed.
"""

import http.server
import os
import socket
import sys
import threading

FIRST = 3  # SD_LISTEN_FDS_START


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """Serves a socket that listens already."""

    daemon_threads = True

    def __init__(self, listener):
        super().__init__(listener.getsockname()[:2], Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener


def enter(cgroup):
    with open(f"{cgroup}/cgroup.procs", "w") as procs:
        procs.write(str(os.getpid()))


def listen(address):
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind((address, 0))
    listener.listen()
    return listener


def pass_on(cgroup, listener):
    if child := os.fork():
        listener.close()
        return child
    enter(cgroup)
    os.dup2(listener.fileno(), FIRST)
    os.set_inheritable(FIRST, True)
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
    os.execv(sys.executable, [*sys.orig_argv[:3], "activated"])


if sys.argv[1:] == ["activated"]:
    assert (os.environ["LISTEN_FDS"], os.environ["LISTEN_PID"]) == ("1", str(os.getpid()))
    Server(socket.socket(fileno=FIRST)).serve_forever()

listeners, servers = [], []
for line in sys.stdin:
    command, argument = line.split()
    if command == "enter":
        enter(argument)
        print(os.getpid(), flush=True)
    elif command == "listen":
        listeners.append(listen(argument))
        servers.append(Server(listeners[-1]))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        print(listeners[-1].getsockname()[1], flush=True)
    elif command == "pass":
        servers.pop().shutdown()
        print(pass_on(argument, listeners.pop()), flush=True)
