"""Which Doorstep this is."""

from importlib.metadata import version

VERSION = version("doorstep")
