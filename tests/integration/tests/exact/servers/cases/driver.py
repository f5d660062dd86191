# Runs the cases against a server: driver.py HOST PORT PROXY_PORT HTTP2_PORT FOLDER FEATURES
#
# First prints the names of the cases that a server with these features can run. Then each line of stdin is the name of
# a case. For each, prints what the counter must report, one line of JSON at a time, and waits for a line on stdin after
# each. The last two lines of a case have the keys "requests" and "logged".
import json
import sys
import time
import traceback

import client
import ends
import grpc_calls
import h2client
import http1
import http1_in_flight
import http1_malformed
import http1_ordinary
import http1_proxy
import http2

host, port, proxy, second, folder, features = sys.argv[1:]
features = set(features.split(","))


# The number of requests in the server's log. Java logs a method that contains a line end. HAProxy logs connections
# without a request, and its own end.
def logged():
    with open(f"{folder}/log", "rb") as log:
        return sum(1 for line in log if line.strip() and not line.startswith((b"<BADREQ>", b"Proxy ")))


class Target:
    names = 0

    def __init__(self):
        self.count = client.Count()
        self.open = []
        self.features = features
        self.tcp = (host, int(port))
        self.before = logged()
        # The responses that the server can send at the same time.
        self.at_once = 1 if "one" in features else 5
        # How a client ends a connection with a request in flight. Hypercorn keeps a connection that its client has closed.
        self.ends = ("reset",) if "lingers" in features else ("reset", "finish")

    def connect(self, proxy_protocol=False):
        address = (host, int(proxy if proxy_protocol else port))
        self.open.append(client.Connection(address, self.count))
        return self.open[-1]

    def h2(self, **options):
        self.open.append(h2client.Connection((host, int(second)), self.count, **options))
        return self.open[-1]

    # Returns a new name for a path of which the response waits for `release`.
    def name(self):
        Target.names += 1
        return f"gate{Target.names}"

    def release(self, name):
        open(f"{folder}/{name}", "w").close()

    def logged(self):
        return logged() - self.before


def say(**line):
    print(json.dumps(line), flush=True)
    sys.stdin.readline()


def run(function):
    target = Target()
    error = None
    try:
        for report in function(target):
            if report:
                say(**report)
    except Exception:
        error = traceback.format_exc()
    say(**vars(target.count), error=error)
    # A server may log a request some time after its end.
    expected = target.count.responses if "logs_all" in features else target.count.application
    ends_at = time.monotonic() + 1
    while target.logged() < expected and time.monotonic() < ends_at:
        time.sleep(0.005)
    say(logged=target.logged())
    for connection in target.open:
        connection.close()


cases = {}
for feature, more in (("h1", http1), ("h2", http2), ("grpc", grpc_calls)):
    if feature in features:
        cases.update(more.CASES)
cases.update(ends.CASES)
# What a feature that no case needs says about the server.
quirks = {"h1", "h2", "grpc", "one", "lingers", "leaks", "proxy_whole", "logs_all", "logs_late"}
unknown = features.difference(quirks, *(needs for _, needs in cases.values()))
assert not unknown, f"unknown features: {unknown}"
print(json.dumps([name for name, (_, needs) in cases.items() if features.issuperset(needs)]), flush=True)
for line in sys.stdin:
    run(cases[line.strip()][0])
