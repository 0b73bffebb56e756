"""What ends a benchmark without a verdict.

BenchmarkError
|- GeneratorError    a process of the load generator died, hung, or could not obey
|- ServerError       a server under test, or one it needs, died or did not get ready
|- SetupError        something the benchmark needs is not here; the message says how to get it
"""


class BenchmarkError(Exception):
    """The benchmark could not be carried through; there is no verdict."""


class GeneratorError(BenchmarkError):
    """A process of the load generator died, hung, or could not obey."""


class ServerError(BenchmarkError):
    """A server under test, or one it needs, died or did not get ready; the message has the end of its log."""


class SetupError(BenchmarkError):
    """Something the benchmark needs is not here; the message says how to get it."""
