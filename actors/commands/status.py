"""`doorstep status`: how a running service is."""

import urllib.error
import urllib.request
from typing import Annotated

import orjson
import typer

from doorstep.actors.commands.options import fail


def status(
    url: Annotated[str, typer.Option(help="The public address of a gateway.")] = "http://127.0.0.1:8000",
) -> None:
    """Print whether a running Doorstep is ready, and what is wrong if not (then the exit code is 1)."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:  # noqa: S310 - the operator's own URL
            body = answer.read()
    except urllib.error.HTTPError as refusal:
        body = refusal.read()
    except OSError as error:
        fail(f"{url} does not answer: {error}")
    readiness = orjson.loads(body)
    typer.echo(orjson.dumps(readiness, option=orjson.OPT_INDENT_2).decode())
    raise typer.Exit(0 if readiness["ready"] else 1)
