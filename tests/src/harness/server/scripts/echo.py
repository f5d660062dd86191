# A WebSocket server that sends back what comes: echo.py HOST PORT COUNT_SOCKET
import asyncio, sys
import websockets

host, port, count_socket = sys.argv[1:]
requests = 0


async def echo(socket, *_):
    global requests
    requests += 1
    async for message in socket:
        await socket.send(message)


async def count(_, writer):
    writer.write(str(requests).encode())
    writer.close()


async def main():
    await asyncio.start_unix_server(count, count_socket)
    # No deflate: what is sent is to be seen in the bytes as it is.
    await websockets.serve(echo, host, int(port), compression=None)
    await asyncio.Future()


asyncio.run(main())
