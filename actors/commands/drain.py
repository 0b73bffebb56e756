"""`doorstep drain`: the sockets and consumers of a node go to others, a few at a time."""

import asyncio
import re
import time
from typing import Annotated

import typer

from doorstep.actors.commands.asking import NoAnswerError, admin_url, status_at
from doorstep.actors.commands.options import ConfigFile, fail, settings_or_exit
from doorstep.actors.commands.spec_change import change_spec
from doorstep.actors.placement.cell import HERE
from doorstep.actors.placement.spec import Spec
from doorstep.actors.store.spec_record import Beat
from doorstep.config.settings import AdminSettings

_TIME = re.compile(r"(\d+)([smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
LATE_S = 60.0
"""How much later than its sockets a node may be drained: its consumers go one after the other, and each is
started anew elsewhere."""


def drain(
    node: Annotated[
        str | None,
        typer.Argument(help="The node, as `doorstep status` names it.", show_default="this one"),
    ] = None,
    *,
    config: ConfigFile = None,
    over: Annotated[str, typer.Option(help="The time in which its sockets go: 90s, 2m, 1h.")] = "2m",
    cancel: Annotated[bool, typer.Option("--cancel", help="Let the node take sockets again.")] = False,
) -> None:
    """Have a node of the cluster serve nobody any more, without a herd of reconnects.

    It is not ready from now on, takes sockets for a tenth of the time, and sends off those it has, evenly
    over the rest. It stays drained until --cancel, or until it is gone. The exit status is 0 once it is so, 1
    where it is not in time, 2 for what can't be. Which node this is, its gateway says, at
    DOORSTEP_ADMIN__PORT.
    """
    settings, over_s = settings_or_exit(config), _seconds(over)
    drained = _this_node(settings.admin) if node is None else node
    until = None if cancel else time.time() + over_s

    def change(spec: Spec, heard: Beat | None) -> Spec:
        return spec.drained(drained, until, heard.nodes if heard else ())

    wait_s = LATE_S if cancel else over_s + LATE_S
    raise typer.Exit(asyncio.run(change_spec(settings, change, wait_s)))


def _this_node(settings: AdminSettings) -> str:
    """The node whose gateway answers here; ends the command where none does, or there are no others."""
    try:
        node: str = status_at(admin_url(settings)).get("node", HERE)
    except NoAnswerError as error:
        fail(f"which node is this? {error}")
    if node == HERE:
        fail("this is the only node: to send its sockets off in order, end its `doorstep serve` with SIGTERM")
    return node


def _seconds(text: str) -> float:
    match = _TIME.fullmatch(text)
    if match is None:
        fail(f"--over {text}: give a time (90s, 2m, 1h)")
    return float(match[1]) * _SECONDS[match[2]]
