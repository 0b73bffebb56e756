"""How a command ends: SIGTERM and Ctrl-C cancel it, and it cleans up."""

import asyncio
import signal

ENDING = (signal.SIGTERM, signal.SIGINT)


def end_on_signals() -> None:
    """Cancel the calling task at the first SIGTERM or Ctrl-C; later ones do not disturb its clean-up."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None

    def end() -> None:
        if not task.cancelling():
            task.cancel()

    for number in ENDING:
        loop.add_signal_handler(number, end)


def take_signals_back() -> None:
    """Ray's core puts handlers of its own over Python's: put Python's on top again. Main thread only."""
    for number in ENDING:
        signal.signal(number, signal.getsignal(number))
