"""The origins of web pages, spelled as browsers send them (HTML standard, 7.1.1). Pure."""

import re

from yarl import URL

DEFAULT_PORTS = {"http": ":80", "https": ":443"}
ANY = "*"
BELOW = "://*."
"""In an allowed origin: any name below the one that follows."""

_FORM = re.compile(r"([a-z][a-z0-9+.-]*)://(\*\.)?([^/?#@\s*]+)/?", re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")


def canonical_origin(text: str) -> str:
    """The spelling that can be compared with an Origin header: lower case, punycode, no default port.

    Takes `*`, and a leading `*.` in the host. Raises `ValueError` for what no page's origin can match.
    """
    if text == ANY:
        return text
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is no origin: write scheme, host and maybe port, as in {_EXAMPLES}')
    scheme, below, authority = match[1].lower(), match[2] or "", match[3]
    try:
        url = URL(f"{scheme}://{authority}")
    except ValueError as exc:
        raise ValueError(f'"{text}" is no origin: {exc}') from exc
    host, port = url.host_subcomponent, url.explicit_port
    if host is None or not _HOST.fullmatch(host):
        raise ValueError(f'"{text}" is no origin: its host can\'t be one')
    named_port = "" if port is None else f":{port}"
    return f"{scheme}://{below}{host}{'' if named_port == DEFAULT_PORTS.get(scheme) else named_port}"


_EXAMPLES = "https://app.example.org, https://*.example.org or http://localhost:3000"
