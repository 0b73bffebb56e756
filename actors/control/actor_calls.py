"""Ask the other actors, by name. Control only: nothing on the path of an event goes this way."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError


@dataclass(frozen=True, slots=True)
class Unreachable:
    """An actor that did not answer, and why."""

    name: str
    reason: str


async def ask(name: str, method: str, timeout_s: float) -> Any:
    """The answer of the actor `name`; `Unreachable` when there is none within `timeout_s`."""
    try:
        actor = await asyncio.to_thread(ray.get_actor, name)
        return await asyncio.wait_for(getattr(actor, method).remote(), timeout_s)
    except TimeoutError:
        return Unreachable(name, f"no answer within {timeout_s:g} s")
    except (RayError, ValueError) as error:
        return Unreachable(name, str(error).partition("\n")[0])


async def ask_all(names: Iterable[str], method: str, timeout_s: float) -> list[Any]:
    """The answers of all of them, asked at the same time, in the order of `names`."""
    return await asyncio.gather(*(ask(name, method, timeout_s) for name in names))
