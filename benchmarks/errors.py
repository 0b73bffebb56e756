"""What ends a benchmark without a verdict.

BenchmarkError
|- GeneratorError    a process of the load generator died, hung, or could not obey
|- SetupError        something the benchmark needs is not here; the message says how to get it

A server under test, or one it needs, that died or did not get ready, is `development.processes.ServerError`.
"""


class BenchmarkError(Exception):
    """The benchmark could not be carried through; there is no verdict."""


class GeneratorError(BenchmarkError):
    """A process of the load generator died, hung, or could not obey."""


class SetupError(BenchmarkError):
    """Something the benchmark needs is not here; the message says how to get it."""
