"""A command for `ebb run` whose listening socket is created outside the cgroup of the replica.

Arguments: the port, another cgroup, and `moved` or `served`. `moved`: this process opens the socket in the other
cgroup, and serves in the cgroup of the replica. `served`: a process in the other cgroup serves, as with `docker run`.
"""

import http.server
import os
import sys

port, other, how = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def enter(cgroup):
    with open(f"{cgroup}/cgroup.procs", "w") as procs:
        procs.write(str(os.getpid()))


with open("/proc/self/cgroup") as lines:
    own = next(line.strip() for line in lines if line.startswith("0::"))[len("0::") :]
child = os.fork() if how == "served" else 0
if child:
    os.waitpid(child, 0)
    sys.exit()
enter(other)
server = http.server.HTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler)
if how == "moved":
    # The other cgroup is a directory in the mount point of cgroup v2.
    enter(os.path.dirname(other) + own)
server.serve_forever()
