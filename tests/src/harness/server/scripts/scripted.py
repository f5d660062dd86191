# Answers each header with given bytes: scripted.py HOST PORT GREETING REPLIES (JSON)
import json, socket, sys, threading

host, port, greeting = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode("latin-1")
replies = json.loads(sys.argv[4])


def answer(client, header):
    number = header.split(b" ", 2)[1][1:] if b" /" in header else b""
    reply = replies[int(number) if number.isdigit() else 0]
    reply, piece, close = reply["bytes"].encode("latin-1"), reply["piece"], reply["close"]
    for at in range(0, len(reply), piece or len(reply)):
        client.sendall(reply[at : at + piece] if piece else reply)
    return close


def serve(client):
    with client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(greeting)
        read = b""
        while data := client.recv(65536):
            read += data
            while b"\r\n\r\n" in read:
                header, read = read.split(b"\r\n\r\n", 1)
                if answer(client, header):
                    return


server = socket.create_server((host, port), backlog=128)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
