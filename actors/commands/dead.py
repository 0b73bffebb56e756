"""`doorstep dead`: the records that could not be delivered: look at them, and replay them."""

import asyncio
import re
from collections import Counter
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import orjson
import typer

from doorstep.actors.commands.options import ConfigFile, fail, settings_or_exit
from doorstep.actors.kafka.dead_letter_topic import DeadLetterTopicError, read_dead_letters, replay
from doorstep.actors.kafka.dead_letters import KeptLetter, LetterReason, Selection
from doorstep.config.settings import KafkaSettings

dead = typer.Typer(no_args_is_help=True, help="Look at dead letters, and replay them.")

Reason = Annotated[LetterReason | None, typer.Option(help="Only those with this reason.")]
Topic = Annotated[str | None, typer.Option(help="Only those that came from this topic.")]
Since = Annotated[str | None, typer.Option(help="Only those since then: 30m, 2h, 7d, or 2026-11-28T08:00.")]

_AGO = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

T = TypeVar("T")


@dead.command("list")
def list_(
    reason: Reason = None,
    topic: Topic = None,
    since: Since = None,
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List dead letters, oldest first: where each is kept, since when, why, and where it came from."""
    letters = _read(_kafka(config), Selection(reason, topic, _time(since)))
    for letter in letters:
        typer.echo(orjson.dumps(_summary(letter)).decode() if as_json else _line(letter))
    typer.echo(_count(letters), err=True)


@dead.command()
def show(
    place: Annotated[str, typer.Argument(help="PARTITION/OFFSET, as `list` prints it.")],
    config: ConfigFile = None,
) -> None:
    """Show one dead letter whole: its error, headers, key and value."""
    found = [each for each in _read(_kafka(config), Selection()) if each.place == place]
    if not found:
        fail(f"there is no dead letter at {place}: `doorstep dead list` prints where each is kept")
    letter = found[0]
    record = letter.record
    whole = {
        **_summary(letter),
        "error": letter.error,
        "headers": {name: _text(value) for name, value in record.headers},
        "key": _text(record.key),
        "value": _text(record.value),
    }
    typer.echo(orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode())


@dead.command("replay")
def replay_(
    reason: Reason = None,
    topic: Topic = None,
    since: Since = None,
    config: ConfigFile = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write them; without it, only say what would be.")
    ] = False,
) -> None:
    """Write the original records to their topics again, with their keys. A dry run, unless --apply is given.

    Records that are kept more than once are written once. What was delivered meanwhile is recognized as a
    repeat by its business key or `event_id`; an event that has neither would be delivered again.
    """
    kafka = _kafka(config)
    letters = list(
        {
            each.source or each.place: each for each in _read(kafka, Selection(reason, topic, _time(since)))
        }.values()
    )
    able = [each for each in letters if each.obstacle is None]
    for letter in letters:
        typer.echo(
            f"{_line(letter)}{'' if letter.obstacle is None else f'  NOT REPLAYED: {letter.obstacle}'}"
        )
    if not apply:
        typer.echo(f"{len(able)} of {len(letters)} would be replayed: say so with --apply", err=True)
        return
    _run(replay(kafka, able))
    typer.echo(f"replayed {len(able)} of {len(letters)}", err=True)
    raise typer.Exit(0 if len(able) == len(letters) else 1)


def _kafka(config: Path | None) -> KafkaSettings:
    kafka = settings_or_exit(config).kafka
    if not kafka.bootstrap_servers:
        fail("DOORSTEP_KAFKA__BOOTSTRAP_SERVERS is not set: where is Kafka? (host:port,host:port)")
    return kafka


def _read(kafka: KafkaSettings, selection: Selection) -> Sequence[KeptLetter]:
    return _run(read_dead_letters(kafka, selection))


def _run(work: Coroutine[None, None, T]) -> T:
    try:
        return asyncio.run(work)
    except (DeadLetterTopicError, ValueError, OSError) as error:
        fail(str(error))


def _time(since: str | None) -> datetime | None:
    """A point in time, UTC where it says no zone."""
    if since is None:
        return None
    if ago := _AGO.fullmatch(since):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        told = datetime.fromisoformat(since)
    except ValueError:
        fail(f"--since {since}: give an age (30m, 2h, 7d) or a time (2026-11-28T08:00)")
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def _summary(letter: KeptLetter) -> dict[str, Any]:
    return {
        "place": letter.place,
        "kept_at": letter.kept_at,
        "reason": letter.reason,
        "source": letter.source,
        "correlation_id": letter.error.get("correlation_id"),
        "message": letter.error.get("message"),
    }


def _line(letter: KeptLetter) -> str:
    told = _summary(letter)
    kept_at = letter.kept_at.isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"{letter.place:<10} {kept_at} {letter.reason:<18} {letter.source}  {told['message'] or ''}"


def _count(letters: Sequence[KeptLetter]) -> str:
    reasons = Counter(letter.reason or "without a reason" for letter in letters)
    told = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    return f"{len(letters)} dead letters{': ' if told else ''}{told}"


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="backslashreplace")
