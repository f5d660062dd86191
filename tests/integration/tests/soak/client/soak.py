# One server's clients in the soak: soak.py HOST PORT PROXY_PORT HTTP2_PORT FEATURES HTTP1 HTTP2 TLS SEED
#
# HTTP1, HTTP2 and TLS are numbers of connections. Each connection has a thread, and a generator of random numbers that
# begins with SEED and the connection's number. Each line of stdin is a command. After each, the program prints the
# tally of everything so far as one line of JSON:
#   pause  no request is in flight, and the connections stay open
#   go     the connections continue
#   close  the connections are closed
import json
import sys
import threading

import http1_traffic
import http2_traffic
import tally
import tls_traffic

host, port, proxy, second, features, http1, http2, tls, seed = sys.argv[1:]
features = set(features.split(","))
addresses = {"plain": (host, int(port)), "proxy": (host, int(proxy)), "http2": (host, int(second))}


# Lets the threads run or wait. A thread waits only between two operations.
class Gate:
    def __init__(self):
        self.changed = threading.Condition()
        self.running = False
        self.closing = False
        self.waiting = 0

    # Waits until the connections continue. Returns false if they close.
    def passed(self):
        with self.changed:
            self.waiting += 1
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.running or self.closing)
            self.waiting -= 1
            return not self.closing

    def go(self):
        with self.changed:
            self.running = True
            self.changed.notify_all()

    def pause(self, threads):
        with self.changed:
            self.running = False
            self.changed.wait_for(lambda: self.waiting == threads)

    def close(self):
        with self.changed:
            self.closing = True
            self.changed.notify_all()


gate = Gate()


def run(traffic):
    while gate.passed():
        try:
            traffic.operate()
        except Exception:
            traffic.failed()
    traffic.close()


kinds = [http1_traffic.Traffic] * int(http1) + [http2_traffic.Traffic] * int(http2)
kinds += [tls_traffic.Traffic] * int(tls)
traffics = [kind(addresses, features, f"{seed}/{number}") for number, kind in enumerate(kinds)]
threads = [threading.Thread(target=run, args=(traffic,), daemon=True) for traffic in traffics]
for thread in threads:
    thread.start()
for line in sys.stdin:
    command = line.strip()
    if command == "pause":
        gate.pause(len(threads))
    elif command == "close":
        gate.close()
        for thread in threads:
            thread.join()
    # The connections can only be looked at while their threads wait.
    print(json.dumps(tally.total(traffics)), flush=True)
    if command == "go":
        gate.go()
