"""Incremental fetch sessions (KIP-227) for aiokafka, which knows their fields and does not use them.

Without a session every fetch names every assigned partition, and so does every answer. With one, a fetch
names what has changed since the last one, and the answer what is new.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.protocol.fetch import FetchRequest

Send = Callable[..., Awaitable[Any]]
"""Takes a broker's id, a request and options; returns the response."""

Fetched = Mapping[tuple[str, int], tuple[int, ...]]
"""By topic and partition what a fetch says of it: first its number, then from where and how much to fetch."""

_FIRST_VERSION = 7
_LAST_EPOCH = 2**31 - 1


class FetchSessions:
    """Stands in for the `send` of one aiokafka client, and keeps a session with each broker."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._sessions: dict[int, _Session] = {}

    async def __call__(self, node_id: int, request: Any, **options: Any) -> Any:
        """Send a request; a fetch goes in its broker's session.

        A session whose fetch has failed or was cancelled is not gone on with: nobody knows where it stands.
        """
        if not isinstance(request, FetchRequest):
            return await self._send(node_id, request, **options)
        fetch = _SessionFetch(request, self._sessions.pop(node_id, _NEW))
        response = await self._send(node_id, fetch, **options)
        if response.API_VERSION >= _FIRST_VERSION and response.session_id and not response.error_code:
            self._sessions[node_id] = fetch.session.after(response.session_id, fetch.fetched)
        return response


@dataclass(frozen=True, slots=True)
class _Session:
    """What a broker knows of our fetches."""

    id: int
    epoch: int
    """Counts the fetches; with 0 a session begins."""
    fetched: Fetched

    def after(self, session_id: int, fetched: Fetched) -> "_Session":
        return _Session(session_id, 1 if self.epoch == _LAST_EPOCH else self.epoch + 1, fetched)


_NEW = _Session(0, 0, {})


class _SessionFetch:
    """A fetch of aiokafka's as the next one of a session; has what a connection needs of a request."""

    def __init__(self, whole: FetchRequest, session: _Session) -> None:
        self.session = session
        self.fetched: Fetched = {}
        """What the broker knows when it has answered."""
        self._whole = whole

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> Any:
        built = self._whole.prepare(versions)
        if built.API_VERSION >= _FIRST_VERSION:
            before = self.session.fetched
            now = self.fetched = {(topic, each[0]): each for topic, parts in built.topics for each in parts}
            built.session_id, built.session_epoch = self.session.id, self.session.epoch
            built.topics = _by_topic((key, each) for key, each in now.items() if before.get(key) != each)
            built.forgotten_topics_data = _by_topic((key, key[1]) for key in before.keys() - now.keys())
        return built


def _by_topic(found: Iterable[tuple[tuple[str, int], Any]]) -> list[tuple[str, list[Any]]]:
    topics = defaultdict(list)
    for (topic, _), each in found:
        topics[topic].append(each)
    return list(topics.items())
