"""Ask other actors, by name. Control only: nothing on the path of an event goes this way."""

import asyncio
from collections.abc import Iterable
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError

from doorstep.actors.control.report import Unreachable
from doorstep.actors.runtime.daemon_thread import in_daemon_thread


class ActorCalls:
    """Asks actors, and remembers where they are: who was asked before is asked without Ray's GCS."""

    def __init__(self) -> None:
        self._found: dict[str, asyncio.Task[Any]] = {}

    async def ask(self, name: str, method: str, *arguments: object, timeout_s: float) -> Any:
        """The answer of the actor `name`; `Unreachable` when there is none within `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                actor = await self._find(name)
                return await getattr(actor, method).remote(*arguments)
        except TimeoutError:
            return Unreachable(name, f"no answer within {timeout_s:g} s")
        except RayError as error:
            if isinstance(error, ActorDiedError):
                self._found.pop(name, None)
            return Unreachable(name, str(error).partition("\n")[0])
        except ValueError:
            return Unreachable(name, "Ray knows of no such actor")

    async def ask_all(
        self, names: Iterable[str], method: str, *arguments: object, timeout_s: float
    ) -> list[Any]:
        """The answers of all of them, asked at the same time, in the order of `names`."""
        return await asyncio.gather(
            *(self.ask(name, method, *arguments, timeout_s=timeout_s) for name in names)
        )

    async def _find(self, name: str) -> Any:
        """One look-up at a time, however long it takes: it can't be interrupted. Forgotten where it fails."""
        if name not in self._found:
            self._found[name] = asyncio.create_task(in_daemon_thread(lambda: ray.get_actor(name)))
        try:
            return await asyncio.shield(self._found[name])
        except Exception:
            self._found.pop(name, None)
            raise
