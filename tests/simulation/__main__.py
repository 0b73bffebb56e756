"""`make simulate`: runs many seeds, or one again, with all that happened in it."""

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from functools import partial

from tests.simulation.mutations import MUTATIONS
from tests.simulation.plan import Plan
from tests.simulation.run import Outcome, run, run_plan

_ENOUGH = 500
"""Seeds, of the right faults, until one finds what is broken."""
_MANY = (6,)
"""So many of these faults a run has."""


def main(words: Sequence[str]) -> int:
    """Returns 0 if no seed failed, or every mutation was found."""
    options = _parse(words)
    if options.mutations:
        return _look_for_mutations(options.count or _ENOUGH)
    seeds = (
        range(options.seed, options.seed + 1)
        if options.count is None
        else range(options.seed, options.seed + options.count)
    )
    began, cpu = time.monotonic(), 0.0
    failed: list[int] = []
    with multiprocessing.get_context("fork").Pool(options.jobs, _prepare) as pool:
        for outcome, cpu_s in pool.imap(partial(_run, options.mutation), seeds, chunksize=4):
            cpu += cpu_s
            if outcome.complaints:
                failed.append(outcome.seed)
                _tell(outcome, whole=len(seeds) == 1 or len(failed) == 1)
            elif len(seeds) == 1:
                _tell(outcome, whole=True)
            if len(failed) >= options.enough:
                break
    said = f"{len(seeds)} seeds from {seeds[0]}, {len(failed)} failed {failed or ''}"
    print(f"{said}: {time.monotonic() - began:.0f} s, {1000 * cpu / len(seeds):.0f} ms of CPU each")
    return int(bool(failed))


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make simulate ARGS=…", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the one to run, or the first one")
    parser.add_argument("--count", type=int, help="how many seeds; without it: one, with its trace")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many processes")
    parser.add_argument("--enough", type=int, default=5, help="stop after so many failures")
    parser.add_argument("--mutation", choices=MUTATIONS, help="with this broken, and faults that show it")
    parser.add_argument("--mutations", action="store_true", help="see that each of these is found")
    return parser.parse_args(words)


def _look_for_mutations(enough: int) -> int:
    """Returns how many of them none of so many seeds finds."""
    _prepare()
    missed = 0
    for name, mutation in MUTATIONS.items():
        seeds = (mutation.first, *range(1, enough + 1))
        found = next((seed for seed in seeds if _run(name, seed)[0].complaints), None)
        print(f"{name}: {'NOT FOUND' if found is None else f'found by seed {found}'}", flush=True)
        missed += found is None
    return missed


def _prepare() -> None:
    """Garbage is collected after each run, and only what is of it: no run may depend on the ones before."""
    gc.collect()
    gc.freeze()
    gc.disable()


def _run(name: str | None, seed: int) -> tuple[Outcome, float]:
    began = time.process_time()
    if name is None:
        outcome = run(seed)
    else:
        with MUTATIONS[name].apply():
            outcome = run_plan(Plan.of(seed, MUTATIONS[name].kinds, _MANY))
    return outcome, time.process_time() - began


def _tell(outcome: Outcome, *, whole: bool) -> None:
    for line in outcome.lines if whole else ():
        print(line)
    for complaint in outcome.complaints:
        print(f"SEED {outcome.seed}: {complaint}")
    print(f"make simulate ARGS='--seed {outcome.seed}' repeats it", flush=True)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of a run
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            os.environ | {"PYTHONHASHSEED": "0"},
        )
    sys.exit(main(sys.argv[1:]))
