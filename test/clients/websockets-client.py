"""Python's websockets, moved by commands: they come and events go as lines of JSON."""

import asyncio
import json
import sys

import websockets


def emit(**event):
    print(json.dumps(event), flush=True)


async def receive(socket):
    try:
        async for message in socket:
            if isinstance(message, str):
                emit(event="text", data=message)
            else:
                emit(event="binary", data=message.decode("latin-1"))
    except websockets.ConnectionClosedError:
        pass
    code = socket.close_code
    emit(event="close", code=code, reason=socket.close_reason or "", wasClean=code != 1006)


async def open_socket(url, protocols):
    try:
        socket = await websockets.connect(url, subprotocols=protocols or None, max_size=None)
    except websockets.InvalidHandshake as error:
        # Before websockets 11 the status was the error's own.
        status = getattr(error, "status_code", None) or getattr(error, "response", None)
        if status is not None:
            emit(event="status", status=getattr(status, "status_code", status))
        emit(event="failed")
        return None
    emit(event="open", protocol=socket.subprotocol or "")
    return socket


async def main():
    lines = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    socket = receiving = None
    while line := await lines.readline():
        command = json.loads(line)
        if command["do"] == "open":
            socket = await open_socket(command["url"], command["protocols"])
            if socket is not None:
                receiving = asyncio.create_task(receive(socket))
        elif command["do"] == "text":
            await socket.send(command["data"])
        elif command["do"] == "binary":
            await socket.send(command["data"].encode("latin-1"))
        elif command["do"] == "fragments":
            await socket.send(command["data"])
        elif command["do"] == "ping":
            await (await socket.ping(command["data"]))
            emit(event="pong", data=command["data"])
        elif command["do"] == "close":
            await socket.close(*command["with"])


asyncio.run(main())
