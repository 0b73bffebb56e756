"""The upper end of the pipe to a generator process: start it, tell it what to do, notice when it dies."""

import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Self

from doorstep.benchmarks.errors import GeneratorError
from doorstep.benchmarks.orders import Answer, Failed, Order

_END_S = 2.0


class Worker:
    """A generator process: `python -m doorstep.benchmarks.<module> <pipe> <arguments>`."""

    def __init__(self, module: str, *arguments: str) -> None:
        """Start it. It ends with `close`, and with this process."""
        self.name = module
        self._pipe, theirs = Pipe()
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", f"doorstep.benchmarks.{module}", str(theirs.fileno()), *arguments],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,  # Ctrl-C is for the conductor to deal with
        )
        theirs.close()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def pipe(self) -> Connection:
        """For `multiprocessing.connection.wait`."""
        return self._pipe

    def tell(self, order: Order) -> None:
        """Send an order. Raises `GeneratorError` if the process is gone."""
        try:
            self._pipe.send(order)
        except OSError:
            raise self._gone() from None

    def answer(self) -> Answer:
        """Wait for the next answer. Raises `GeneratorError` if the process is gone, or failed to obey."""
        try:
            said: Answer | Failed = self._pipe.recv()
        except (EOFError, OSError):
            raise self._gone() from None
        if isinstance(said, Failed):
            raise GeneratorError(f"generator process {self.name} ({self.pid}): {said.reason}")
        return said

    def close(self) -> None:
        """End it."""
        self._pipe.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _gone(self) -> GeneratorError:
        self._process.kill()  # a process whose pipe is broken is of no use, whatever it still does
        status = self._process.wait()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return GeneratorError(f"generator process {self.name} ({self.pid}) {how}: no verdict")


def ask_all(workers: Sequence[Worker], orders: Sequence[Order], timeout_s: float) -> Sequence[Answer]:
    """Give each worker its order, and wait for all answers, in the order of the workers.

    Raises `GeneratorError` as soon as one of them is gone, or when time runs out.
    """
    for worker, order in zip(workers, orders, strict=True):
        worker.tell(order)
    deadline = time.monotonic() + timeout_s
    answers: dict[Worker, Answer] = {}
    while len(answers) < len(workers):
        pending = [worker for worker in workers if worker not in answers]
        ready = wait([worker.pipe for worker in pending], max(0.0, deadline - time.monotonic()))
        if not ready:
            late = ", ".join(f"{worker.name} ({worker.pid})" for worker in pending)
            raise GeneratorError(f"no answer from {late} within {timeout_s:g} s: no verdict")
        answers |= {worker: worker.answer() for worker in pending if worker.pipe in ready}
    return [answers[worker] for worker in workers]
