"""How much slower the machine is just now than it was on the quick days for which limits of time are.

The same two cores of a cloud are three times as slow on another day. Limits that are to find a regression on
all days follow; on a quick day, and on a quicker machine, they are what they say.
"""

import asyncio
import os
import sys

_WORK = """
import json, time
began = time.perf_counter()
for _ in range(14):
    json.loads(json.dumps([{"user": str(n), "at": [n] * 3} for n in range(20_000)]))
print(time.perf_counter() - began)
"""
_QUICK_S = 0.5
"""What one core takes for that while all others do the same, on the two cores of docs/performance.md."""


async def slowness() -> float:
    """At least 1. All cores do the same work once: a second. Ask when nothing else of the test works."""
    took_s = await asyncio.gather(*(_work_s() for _ in range(os.cpu_count() or 1)))
    return max(1.0, sum(took_s) / len(took_s) / _QUICK_S)


async def _work_s() -> float:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-c", _WORK, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    return float(told)
