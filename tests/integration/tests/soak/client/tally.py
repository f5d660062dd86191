# What the connections of one process have sent and received.
import client


# The number of responses by class of status, 1xx to 5xx. It takes the place of a list of all statuses.
class Classes:
    def __init__(self):
        self.counts = [0] * 5

    def append(self, status):
        # A status from 600 on counts as 5xx.
        self.counts[min(status // 100, 5) - 1] += 1


class Tally(client.Count):
    def __init__(self):
        super().__init__()
        self.statuses = Classes()
        # Probes: excluded from the count.
        self.excluded = 0
        # Unusual messages, and those of them that got no response: a server may close the connection.
        self.unusual = 0
        self.unanswered = 0
        # Unusual messages in which the counter may see a request more.
        self.no_request = 0
        # Ordinary requests with a response. The server has a line in its log for each.
        self.kept = 0
        # Requests that the client aborted long before their response.
        self.aborted = 0
        # Connections that the client opened.
        self.connected = 0
        # The open connection if it counts as one request.
        self.held = 0
        # The time that requests were in flight, in microseconds: at least, and at most.
        self.least = 0
        self.most = 0
        # Operations that failed.
        self.errors = 0
        # What helps to find the cause of a mismatch: texts, and how often each applies.
        self.notes = {}

    def note(self, text, times):
        self.notes[text] = self.notes.get(text, 0) + times


NUMBERS = (
    "requests maybe unsure opaque excluded unusual unanswered no_request kept aborted connected held least most errors".split()
)


def total(traffics):
    tallies = [traffic.count for traffic in traffics]
    out = {name: sum(getattr(tally, name) for tally in tallies) for name in NUMBERS}
    out["status"] = [sum(tally.statuses.counts[i] for tally in tallies) for i in range(5)]
    out["open"] = sum(traffic.is_open() for traffic in traffics)
    out["notes"] = {}
    for tally in tallies:
        for text, times in tally.notes.items():
            out["notes"][text] = out["notes"].get(text, 0) + times
    return out
