"""An event loop without a clock and without I/O: time jumps to the next timer, and every run is the same.

What runs on it belongs to processes, told apart by a context variable that tasks and callbacks inherit. One
that is killed never runs again, not even its `finally`; one that is frozen does later what it missed.
"""

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_CURRENT: contextvars.ContextVar["Process"] = contextvars.ContextVar("process")


class Process:
    """What lives and dies together, on one host."""

    def __init__(self, loop: "Loop", name: str, host: str) -> None:
        self.name = name
        self.host = host
        self.is_alive = True
        self.on_death: list[Callable[[], None]] = []
        self.context = contextvars.copy_context()
        self.context.run(_CURRENT.set, self)
        self._loop = loop
        self._missed: list[_Call] | None = None

    @property
    def is_frozen(self) -> bool:
        """It is stopped, and knows nothing of it."""
        return self._missed is not None

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function as this process."""
        return self.context.run(function, *arguments)

    def kill(self) -> None:
        """Like SIGKILL: nothing of it runs any more."""
        self.is_alive = False
        self._missed = None
        for told in self.on_death:
            told()

    def freeze(self) -> None:
        """Like SIGSTOP."""
        if self.is_alive and self._missed is None:
            self._missed = []

    def thaw(self) -> None:
        """Like SIGCONT."""
        missed, self._missed = self._missed or [], None
        for call in missed:
            self._loop.repeat(call)

    def misses(self, call: "_Call") -> bool:
        """Whether it can't run this now; a frozen one will."""
        if self._missed is not None:
            self._missed.append(call)
            return True
        return not self.is_alive


def resolve(future: asyncio.Future[None]) -> None:
    """Let go on whoever waits, if anybody still does."""
    if not future.done():
        future.set_result(None)


def current() -> Process | None:
    """The process that runs; None for the world around."""
    return _CURRENT.get(None)


class _Call(asyncio.TimerHandle):
    """A callback and the process whose it is."""

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        arguments: Sequence[Any],
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context | None,
    ) -> None:
        super().__init__(when, callback, arguments, loop, context)
        self._process = _CURRENT.get(None) if context is None else context.get(_CURRENT)

    def run(self) -> None:
        """Run it, unless it was cancelled or its process can't."""
        if not self._cancelled and not (self._process and self._process.misses(self)):
            self._run()


class _Task(asyncio.Task[T]):
    """Tasks are kept in sets, whose order must not follow from addresses."""

    def __init__(
        self,
        work: Coroutine[Any, Any, T],
        loop: "Loop",
        context: contextvars.Context | None,
    ) -> None:
        self._number = loop.count()
        super().__init__(work, loop=loop, name=f"task-{self._number}", context=context)

    def __hash__(self) -> int:
        return self._number

    def forget(self) -> None:
        """It will never end, and that is no mistake."""
        self._log_destroy_pending = False


class Loop(asyncio.BaseEventLoop):
    """Runs until a task is done. `errors` are the exceptions that nobody caught."""

    _is_over = False

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []
        self.calls = 0
        """How many callbacks have run."""
        self._now = 0.0
        self._count = 0
        self._due: deque[_Call] = deque()
        self._timers: list[tuple[float, int, _Call]] = []
        self._tasks: list[_Task[Any]] = []
        """All there ever were: those of the dead must not be collected, or their clean-up would run."""
        self.connector: Callable[..., Coroutine[Any, Any, tuple[asyncio.Transport, asyncio.Protocol]]]
        """Opens a connection."""
        self.thread: Callable[[Callable[[], Any]], Coroutine[Any, Any, Any]]
        """Does what is done in another thread: the questions to Kafka."""

    def count(self) -> int:
        """1, 2, 3 …"""
        self._count += 1
        return self._count

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run everything until this is done; then nothing runs any more."""
        asyncio._set_running_loop(self)
        try:
            main = self.create_task(work)
            while not main.done():
                self._turn()
            return main.result()
        finally:
            asyncio._set_running_loop(None)

    def close(self) -> None:
        """Drop what is left."""
        self._is_over = True
        for task in self._tasks:
            task.forget()
        self._due.clear()
        self._timers.clear()
        self._tasks.clear()

    def repeat(self, call: _Call) -> None:
        """Run a call again that its process has missed."""
        self._due.append(call)

    def _turn(self) -> None:
        due = self._due
        if not due:
            when, _, call = heapq.heappop(self._timers)
            self._now = max(self._now, when)
            due.append(call)
        while due:
            self.calls += 1
            due.popleft().run()

    # What asyncio calls

    def time(self) -> float:
        return self._now

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        call = _Call(self._now, callback, args, self, context)
        self._due.append(call)
        return call

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        call = _Call(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, self.count(), call))
        return call

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: object = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        assert isinstance(coro, Coroutine)
        task = _Task(coro, self, context)
        self._tasks.append(task)
        return task

    async def create_connection(self, protocol_factory: Any, *args: Any, **kwargs: Any) -> Any:
        return await self.connector(protocol_factory, *args)

    async def connect_accepted_socket(self, protocol_factory: Any, sock: Any, **kwargs: Any) -> Any:
        protocol = protocol_factory()
        return sock.given_to(protocol), protocol

    def run_in_executor(
        self, executor: Any, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        return self.create_task(self.thread(lambda: func(*args)))

    def is_closed(self) -> bool:
        return self._is_over

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.errors.append(f"{context['message']}: {error!r}")

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled call is skipped when its time comes."""
