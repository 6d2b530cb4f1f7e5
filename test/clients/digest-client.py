"""Python's websockets as a digest client, see digest-client.mjs. Its argument is the URL."""

import asyncio
import sys
import zlib

import websockets


async def main(url):
    code = None
    while code != 4999:
        count = crc = 0
        try:
            async with websockets.connect(url, max_size=None) as socket:
                await socket.send("hello python")
                async for text in socket:
                    if text == "report":
                        await socket.send(f"report {count} {crc}")
                    else:
                        count += 1
                        crc = zlib.crc32(text.encode(), crc)
                code = socket.close_code
        except websockets.ConnectionClosedError:
            code = socket.close_code
            await asyncio.sleep(0.01)


asyncio.run(main(sys.argv[1]))
