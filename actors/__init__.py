"""The actors and the pure decisions they carry."""

import os

# Ray reads these when it is imported, which any module of this package may be the first to do: it is not to
# call home, and to pass every line of a log on as it is. It gives its workers a niceness of 15, as for batch
# jobs; ours answer browsers (docs/decisions/0005).
for _name, _value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_COLOR_PREFIX": "0",
    "RAY_worker_niceness": "0",
}.items():
    os.environ.setdefault(_name, _value)
