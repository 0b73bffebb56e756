"""Asking the gateway at an admin port how all actors are. It is there at once, as nobody asks Ray."""

import http.client
import urllib.error
import urllib.request
from typing import Any

import orjson

from doorstep.config.settings import AdminSettings

_TIMEOUT_S = 5.0
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nobody listens there
"""Where to ask on this machine who listens on all of its addresses."""
_WHERE = (
    "ask the admin port of a gateway (DOORSTEP_ADMIN__HOST and __PORT, else 127.0.0.1:8001), "
    "not the one for browsers"
)


class NoAnswerError(Exception):
    """Nobody has said how Doorstep is; the message says who was asked, and why not."""


def status_at(url: str) -> dict[str, Any]:
    """What `/status` of the gateway at this admin address says; `http://` may be left out.

    Raises `NoAnswerError`.
    """
    page = f"{url if '://' in url else f'http://{url}'}".rstrip("/") + "/status"
    try:
        with urllib.request.urlopen(page, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - their own URL
            told = orjson.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise NoAnswerError(f"{page}: {error.code} {error.reason}; {_WHERE}") from error
    except (orjson.JSONDecodeError, http.client.HTTPException) as error:
        raise NoAnswerError(f"{page}: not a Doorstep; {_WHERE}") from error
    except (OSError, ValueError) as error:
        raise NoAnswerError(f"{page}: no answer: {getattr(error, 'reason', error)}") from error
    if isinstance(told, dict) and told.keys() >= {"ok", "spec", "actors", "troubles"}:
        return told
    raise NoAnswerError(f"{page}: not a Doorstep; {_WHERE}")


def admin_url(settings: AdminSettings) -> str:
    """Where the gateway of this machine answers operators."""
    host = _ANY.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
