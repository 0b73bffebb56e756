"""What a route does, in lines for people. Pure."""

from collections.abc import Iterator

from doorstep.config.routes import ContextRoute, EventRoute, Route
from doorstep.config.sources import Source


def lines_of(route: Route) -> Iterator[str]:
    """What is read, whose it is, what it becomes, and which events are the same."""
    yield f"{route.name}:"
    yield from (f"  reads       {topic}" for topic in sorted(route.topics))
    yield f"  as          {route.contract.__name__}"
    if isinstance(route, ContextRoute):
        yield f"  says that   batch {route.batch.text} is user {route.user.text}'s"
    else:
        yield from _event_lines(route)


def _event_lines(route: EventRoute) -> Iterator[str]:
    event = route.event.text if isinstance(route.event, Source) else f'"{route.event}"'
    yield f"  is for      {_user(route)}"
    yield f"  becomes     {event}"
    yield f"  with        {', '.join(_data(route)) or 'no data'}"
    if route.dedupe:
        yield f"  once for    {', '.join(source.text for source in route.dedupe)}"


def _user(route: EventRoute) -> str:
    if route.user is not None:
        return f"user {route.user.text}"
    return f"the user of batch {route.batch.text if route.batch else ''}"


def _data(route: EventRoute) -> Iterator[str]:
    if route.data_from is not None:
        yield f"all of {route.data_from.text}"
    for name, source in route.data.items():
        yield name if source.text == f"data.{name}" else f"{name} ({source.text})"
