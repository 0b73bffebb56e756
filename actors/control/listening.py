"""Whether somebody listens at an address."""

import asyncio


async def connect_error(host: str, port: int, within_s: float) -> OSError | OverflowError | None:
    """Why nobody takes a connection there within so many seconds; None where somebody does."""
    try:
        async with asyncio.timeout(within_s):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, OverflowError) as error:  # also TimeoutError; the other one is a port that is none
        return error
    writer.close()
    return None
