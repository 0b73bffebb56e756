"""Asks several servers at once, so that those that do not answer cost no time."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import TypeVar

from doorstep.actors.store.redis.errors import StoreUnavailable

Answer = TypeVar("Answer")


async def first_answer(questions: Iterable[Coroutine[None, None, Answer]], nobody: str) -> Answer:
    """The first answer; the other questions are cancelled.

    Raises `StoreUnavailable`, which begins with `nobody` and tells why, when all of them raise that.
    """
    asked = [asyncio.ensure_future(question) for question in questions]
    reasons = []
    try:
        for answer in asyncio.as_completed(asked):
            try:
                return await answer
            except StoreUnavailable as error:
                reasons.append(str(error))
        raise StoreUnavailable(f"{nobody}: {'; '.join(reasons)}")
    finally:
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
