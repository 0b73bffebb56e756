"""`doorstep status`: how a running service is. It asks the gateway, not Ray, so it is there at once."""

import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import orjson
import typer

from doorstep.actors.commands.asking import NoAnswerError, status_at
from doorstep.actors.commands.options import fail
from doorstep.actors.control.fleet_status import spec_line

_WATCH_S = 2.0
_CLEAR = "\033[H\033[2J"
_COLUMNS = ("actor", "node", "state", "since", "restarts", "details")
_DETAILS = (
    *("connections", "users", "slots", "partitions", "paused", "lag", "parked", "dead_letters"),
    *("port", "admin_port", "reason"),
)


def status(
    url: Annotated[str, typer.Option(help="The admin address of a gateway.")] = "http://127.0.0.1:8001",
    as_json: Annotated[bool, typer.Option("--json", help="All that the gateway says, as JSON.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Again every two seconds, until Ctrl-C.")] = False,
) -> None:
    """Print how a running Doorstep is, and what is wrong; the exit status is 1 where something is, 2 where
    nobody answers."""
    while watch:
        try:
            shown = _text(status_at(url), as_json=as_json)
        except NoAnswerError as error:  # it may be back in two seconds
            shown = str(error)
        typer.echo(_CLEAR + shown)
        time.sleep(_WATCH_S)
    try:
        told = status_at(url)
    except NoAnswerError as error:
        fail(str(error))
    typer.echo(_text(told, as_json=as_json))
    raise typer.Exit(0 if told["ok"] else 1)


def _text(told: Mapping[str, Any], *, as_json: bool) -> str:
    return orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() if as_json else "\n".join(table(told))


def table(told: Mapping[str, Any]) -> Iterator[str]:
    """The lines for people: what is wanted, every actor, then every trouble."""
    yield spec_line(told["spec"])
    yield ""
    rows = [_COLUMNS, *(_row(name, actor) for name, actor in told["actors"].items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    yield "all is well" if told["ok"] else "what is wrong:"
    for trouble in told["troubles"]:
        reason = f": {trouble['reason']}" if trouble["reason"] else ""
        yield f"  {trouble['actor']}: {trouble['what']} {trouble['state']} since {trouble['since']}{reason}"


def _row(name: str, actor: Mapping[str, Any]) -> tuple[str, ...]:
    process = actor.get("process", {})
    details = [f"{key}={_short(actor[key])}" for key in _DETAILS if actor.get(key)]
    details += [f"{key}={server['state']}" for key, server in actor.get("servers", {}).items()]
    restarts = str(process.get("restarts", ""))
    return name, process.get("node", ""), actor["state"], actor["since"], restarts, " ".join(details)


def _short(value: object) -> str:
    """A list by its length, the values of a mapping by their sum."""
    if isinstance(value, dict):
        return str(sum(value.values()))
    return str(len(value)) if isinstance(value, list) else str(value)
