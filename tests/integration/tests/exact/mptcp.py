# One connection over MPTCP. With the argument "server": answers requests on 10.99.0.1:8080. With "client": sends 9
# requests, prints the number of answers and of subflows, and keeps the connection open until SIGINT.
import signal, socket, sys, time

ADDRESS = ("10.99.0.1", 8080)
IPPROTO_MPTCP, SOL_MPTCP, MPTCP_INFO = 262, 284, 1
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def server():
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(ADDRESS)
    listener.listen()
    while True:
        client, _ = listener.accept()
        with client:
            while client.recv(4096):
                client.sendall(ANSWER)


def client():
    wire = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    while wire.connect_ex(ADDRESS):
        time.sleep(0.05)
    answers = 0
    for _ in range(9):
        wire.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        answer = b""
        while len(answer) < len(ANSWER):
            answer += wire.recv(4096)
        answers += answer == ANSWER
    # The first byte of `struct mptcp_info` is the number of further subflows.
    while (further := wire.getsockopt(SOL_MPTCP, MPTCP_INFO, 64)[0]) < 2:
        time.sleep(0.05)
    print(f"{answers} answers, {further + 1} subflows", flush=True)
    signal.sigwait({signal.SIGINT})


# A SIGINT that comes earlier waits until the client has printed its numbers.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
{"server": server, "client": client}[sys.argv[1]]()
