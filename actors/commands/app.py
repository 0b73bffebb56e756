"""What `doorstep` runs."""

import sys

from doorstep.actors.runtime.loading import INTERRUPTED, loading

_EXTRAS = "`doorstep demo` needs `doorstep[demo]`, `doorstep bench` needs `doorstep[bench]`"


def main() -> None:
    """Do what the command line says. Ctrl-C is quiet from the first moment; a command whose libraries are not
    installed says how to get them."""
    try:
        with loading():
            from doorstep.actors.commands.verbs import app  # noqa: PLC0415 - which takes a second or two

        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith("doorstep"):
            raise
        sys.exit(f"doorstep: {missing.name} is not installed. {_EXTRAS}")
