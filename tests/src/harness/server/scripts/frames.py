# An HTTP/2 server (prior knowledge) that sends what few servers do: frames.py HOST PORT COUNT_SOCKET
# What it answers is in ANSWERS, by path. h2 keeps the state; frames it would not send are sent past it.
import socket, struct, sys, threading, time
from urllib.parse import parse_qs, urlsplit
import h2.config, h2.connection, h2.events, h2.settings

host, port, count_socket = sys.argv[1:]
lock, requests = threading.Lock(), 0
OK = [(":status", "200")]
MOST = 2**31 - 1


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def rst(stream, error):
    return frame(3, 0, stream, struct.pack(">I", error))


class Connection:
    def __init__(self, client):
        self.client = client
        self.together = []
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: MOST})
        self.h2.increment_flow_control_window(MOST - 65535)
        self.flush()

    def flush(self, past=b""):
        self.client.sendall(self.h2.data_to_send() + past)

    def serve(self):
        global requests
        paths = {}
        while data := self.client.recv(1 << 20):
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    with lock:
                        requests += 1
                    path = urlsplit(dict(event.headers)[":path"])
                    paths[event.stream_id] = path
                    if path.path == "/early":
                        self.h2.send_headers(event.stream_id, OK, end_stream=True)
                if isinstance(event, h2.events.DataReceived):
                    self.h2.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
                if isinstance(event, h2.events.StreamReset):
                    paths.pop(event.stream_id, None)
                if isinstance(event, h2.events.StreamEnded):
                    path = paths.pop(event.stream_id, None)
                    if path:
                        n = int(parse_qs(path.query).get("n", ["1"])[0])
                        ANSWERS.get(path.path, Connection.plain)(self, event.stream_id, n)
            self.flush()

    def plain(self, stream, _):
        self.h2.send_headers(stream, OK)
        self.h2.send_data(stream, b"h2\n", end_stream=True)

    def nothing(self, stream, _):
        self.h2.send_headers(stream, OK, end_stream=True)

    def ones(self, stream, n):
        self.h2.send_headers(stream, OK)
        for left in range(n, 0, -1):
            self.h2.send_data(stream, b"x", end_stream=left == 1)

    def empty_end(self, stream, _):
        self.h2.send_headers(stream, OK)
        self.h2.send_data(stream, b"body")
        self.h2.send_data(stream, b"", end_stream=True)

    # n streams are answered in turns, a frame each.
    def in_turns(self, stream, n):
        self.together.append(stream)
        if len(self.together) < n:
            return
        for one in self.together:
            self.h2.send_headers(one, OK)
        for turn in range(50):
            for one in self.together:
                self.h2.send_data(one, b"turn", end_stream=turn == 49)
        self.together = []

    def reset(self, stream, _):
        self.h2.send_headers(stream, OK)
        self.h2.send_data(stream, b"some")
        self.h2.reset_stream(stream, error_code=2)

    def refused(self, stream, _):
        self.h2.reset_stream(stream, error_code=7)

    def reset_after(self, stream, _):
        self.plain(stream, 1)
        self.flush(rst(stream, 0))

    # The stream at hand is to be finished; the connection closes after it.
    def goaway(self, stream, _):
        self.flush(frame(7, 0, 0, struct.pack(">II", stream, 0)))
        time.sleep(0.3)
        self.plain(stream, 1)
        self.flush()
        self.client.shutdown(socket.SHUT_WR)

    def flood(self, stream, n):
        self.h2.send_headers(stream, OK)
        self.flush((frame(6, 0, 0, b"floodpin") + frame(4, 0, 0)) * n)
        self.h2.send_data(stream, b"x", end_stream=True)

    def large_head(self, stream, n):
        self.h2.send_headers(stream, OK + [("x-large", "l" * n)], end_stream=True)

    def large_frame(self, stream, n):
        self.h2.send_headers(stream, OK)
        self.h2.send_data(stream, bytes(n), end_stream=True)

    def padded(self, stream, n):
        self.h2.send_headers(stream, OK)
        self.h2.send_data(stream, b"x", pad_length=n)
        self.h2.send_data(stream, b"x", pad_length=n, end_stream=True)

    def push(self, stream, _):
        promised = self.h2.get_next_available_stream_id()
        head = [(":method", "GET"), (":scheme", "http"), (":authority", "test"), (":path", "/p")]
        self.h2.push_stream(stream, promised, head)
        self.h2.send_headers(promised, OK)
        self.plain(stream, 1)
        self.h2.send_data(promised, b"pushed", end_stream=True)

    def trailers(self, stream, _):
        self.h2.send_headers(stream, OK)
        self.h2.send_data(stream, b"body")
        self.h2.send_headers(stream, [("x-sum", "1")], end_stream=True)

    def interim(self, stream, n):
        for _ in range(n):
            self.h2.send_headers(stream, [(":status", "103"), ("link", "</a.css>; rel=preload")])
        self.plain(stream, 1)

    def early(self, stream, _):
        pass


ANSWERS = {
    "/" + name.replace("_", "-"): answer
    for name, answer in vars(Connection).items()
    if not name.startswith("_") and name not in ("flush", "serve")
}


def serve(client):
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with client:
        try:
            Connection(client).serve()
        except (OSError, h2.exceptions.ProtocolError):
            pass


def count(listener):
    while True:
        with listener.accept()[0] as asker:
            asker.send(str(requests).encode())


counts = socket.socket(socket.AF_UNIX)
counts.bind(count_socket)
counts.listen()
threading.Thread(target=count, args=(counts,), daemon=True).start()
family = socket.AF_INET6 if ":" in host else socket.AF_INET
server = socket.create_server((host, int(port)), family=family, backlog=128)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
