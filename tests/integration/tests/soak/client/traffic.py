# What the connections of HTTP/1 and of HTTP/2 have in common: a random choice of operations, and the connection's life.
import random
import socket
import time
import traceback

import tally

# The mean time between two operations of a connection, in seconds. With 200 connections, the load is about 1 000
# operations a second, which leaves some CPU time to the servers.
PAUSE = 0.15

# Some servers close a connection that is idle for two seconds, perhaps just when a request comes. Their clients use no
# connection that has been idle so long, in seconds.
IDLE = 1

# How long a client waits for a server that restarts, in seconds.
RESTARTS_WITHIN = 30


class Traffic:
    # The operations of the connection, with their weights.
    OPERATIONS = ()
    # The share of the operations that are an unusual message. An operation sends several requests; of the messages, one
    # in a hundred is unusual.
    UNUSUAL = 0.03
    # After so many requests the client closes the connection: at least, and at most.
    LIFE = (20, 200)
    # How long the client waits for a response, in seconds. It is longer than any pause of a loaded machine.
    TIMEOUT = 30

    def __init__(self, addresses, features, seed):
        self.addresses = addresses
        self.features = features
        self.random = random.Random(seed)
        self.count = tally.Tally()
        self.connection = None
        self.left = 0
        self.used = 0
        self.operations = [name for name, _, needs in self.OPERATIONS if not needs or needs in features]
        self.weights = [weight for _, weight, needs in self.OPERATIONS if not needs or needs in features]
        self.operation = ""

    # Does one thing, and then pauses.
    def operate(self):
        unusual = self.random.random() < self.UNUSUAL
        self.operation = "unusual" if unusual else self.random.choices(self.operations, self.weights)[0]
        if "closes_idle" in self.features and time.monotonic() - self.used > IDLE:
            self.close()
        getattr(self, self.operation)()
        self.used = time.monotonic()
        time.sleep(self.random.expovariate(1 / PAUSE))

    # Returns the open connection, or a new one.
    def connected(self, fresh=False):
        if fresh or self.left <= 0 or not self.is_open():
            self.close()
            self.connection = self.connect_to(self.connect)
            self.left = self.random.randint(*self.LIFE)
        return self.connection

    # Connects with `connect`. While a server restarts, it refuses connections.
    def connect_to(self, connect):
        ends = time.monotonic() + RESTARTS_WITHIN
        while True:
            try:
                connection = connect()
            except OSError:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.02)
                continue
            connection.socket.settimeout(self.TIMEOUT)
            self.count.connected += 1
            return connection

    # Whether the connection is open: the server may have closed it in the meantime.
    def is_open(self):
        c = self.connection
        if c is None or c.closed:
            return False
        if waits(c):
            c.close()
        return not c.closed

    # Ends a connection that is not needed any more, in one of the ways that clients end connections.
    def close(self):
        if self.connection is not None and not self.connection.closed:
            if self.random.random() < 0.1:
                self.connection.reset_now()
            else:
                self.connection.close()
        self.connection = None

    # Records requests without a response: they may have come to a closed socket, or may have been answered.
    def lost(self, requests):
        self.count.requests -= requests
        self.count.maybe += requests
        self.count.note(f"no response: {self.operation}", requests)

    # Adds a time in flight, in seconds, to the time that all requests were in flight at most.
    def spent(self, since, times=1):
        self.count.most += int((time.monotonic() - since) * 1e6 + 1) * times

    def failed(self):
        lines = traceback.format_exc().strip().splitlines()
        self.count.errors += 1
        self.count.note(f"failed: {self.operation}: {lines[-1]}; {lines[-3].strip()}", 1)
        self.close()


# Whether the server has closed the connection, or has sent something that nobody has asked for.
def waits(connection):
    timeout = connection.socket.gettimeout()
    connection.socket.settimeout(0)
    try:
        connection.socket.recv(1, socket.MSG_PEEK)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.socket.settimeout(timeout)
