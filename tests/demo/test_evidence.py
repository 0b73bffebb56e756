"""The judge of `doorstep demo --check` finds every kind of fault, and nothing where there is none."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from doorstep.demo.evidence import ASSIGNED, FAILED, Evidence, Seen, Sent, judge, report
from doorstep.demo.teachers import TEACHERS

CORRELATION = "0b8f3a52-8d2f-4e0c-9a1d-2f1f5a0b7c11"


def sent(file: str, event: str = ASSIGNED) -> Sent:
    return Sent(file, f"{file}.txt", event, 100.0, CORRELATION)


def message(seq: int, file: str, event: str = ASSIGNED) -> dict[str, Any]:
    data = {"file_upload_id": file} | ({"essay_id": f"essay of {file}"} if event == ASSIGNED else {})
    return {"seq": seq, "cursor": f"{seq}-c", "event": event, "correlation_id": CORRELATION, "data": data}


def flawless() -> Evidence:
    messages = [message(8, "a"), message(9, "b"), message(10, "empty", FAILED)]
    return Evidence(
        teacher=TEACHERS[0],
        start_seq=7,
        sent=[sent("a"), sent("b"), sent("empty", FAILED)],
        devices=[[Seen(100.02, copy.deepcopy(one)) for one in messages] for _ in range(2)],
        polled=messages,
        results={"a": "essay of a", "b": "essay of b", "empty": None},
    )


def test_nothing_is_wrong_where_nothing_is() -> None:
    assert judge(flawless()) == []


def _on_both(change: Callable[[list[Seen]], None]) -> Callable[[Evidence], None]:
    """The same flaw at both devices, so that only the flaw itself can give it away."""

    def flaw(evidence: Evidence) -> None:
        for device in evidence.devices:
            change(device)
        evidence.polled = [one.message for one in evidence.devices[0]]

    return flaw


def _lose_the_last(device: list[Seen]) -> None:
    device.pop()


def _repeat_the_last(device: list[Seen]) -> None:
    device.append(Seen(100.03, {**device[-1].message, "seq": 11}))


def _get_a_strangers(device: list[Seen]) -> None:
    device.append(Seen(100.03, message(11, "somebody's")))


def _swap(device: list[Seen]) -> None:
    device[0], device[1] = device[1], device[0]


def _skip_a_number(device: list[Seen]) -> None:
    device[2] = Seen(100.02, {**device[2].message, "seq": 11})


def _be_late(device: list[Seen]) -> None:
    device[1] = replace(device[1], at=100.6)


def _take_the_other_event(device: list[Seen]) -> None:
    device[0] = Seen(100.02, {**device[0].message, "event": FAILED})


def _lose_the_correlation_id(device: list[Seen]) -> None:
    device[0] = Seen(100.02, {**device[0].message, "correlation_id": "another"})


def _share_an_essay(device: list[Seen]) -> None:
    shared = {"file_upload_id": "b", "essay_id": "essay of a"}
    device[1] = Seen(100.02, {**device[1].message, "data": shared})


def _second_device_differs(evidence: Evidence) -> None:
    evidence.devices[1][0] = Seen(100.02, {**evidence.devices[1][0].message, "cursor": "8-x"})


def _polling_differs(evidence: Evidence) -> None:
    evidence.polled = list(evidence.polled)[1:]


def _results_differ(evidence: Evidence) -> None:
    evidence.results = {**evidence.results, "a": "another essay"}


@pytest.mark.parametrize(
    ("flaw", "verdict"),
    [
        (_on_both(_lose_the_last), "missing: empty.txt"),
        (_on_both(_repeat_the_last), "doubled: empty.txt"),
        (_on_both(_get_a_strangers), "somebody else's: "),
        (_on_both(_swap), "out of order, or with a gap: [9, 8, 10] after 7"),
        (_on_both(_skip_a_number), "out of order, or with a gap: [8, 9, 11] after 7"),
        (_on_both(_be_late), "late: b.txt, 600 ms"),
        (_on_both(_take_the_other_event), "essay.validation.failed instead of essay.slot.assigned: a.txt"),
        (_on_both(_lose_the_correlation_id), "correlation id another, not"),
        (_on_both(_share_an_essay), "two files have become the same essay"),
        (_second_device_differs, "device 2 saw something else than device 1"),
        (_polling_differs, "polling gives something else"),
        (_results_differ, "the result aggregator has other essays: a: essay of a / another essay"),
    ],
)
def test_every_flaw_is_found(flaw: Callable[[Evidence], None], verdict: str) -> None:
    evidence = flawless()
    flaw(evidence)
    problems = judge(evidence)
    assert any(problem.startswith(f"Astrid Berg: {verdict}") for problem in problems), problems


def test_the_report_counts_and_measures() -> None:
    header, row, total = report([flawless()])
    assert " ".join(header.split()) == "files devices essays refused p50 ms p99 ms max ms"
    assert " ".join(row.split()) == "Astrid Berg 3 2 4 2 20.0 20.0 20.0"
    assert " ".join(total.split()) == "all 3 2 4 2 20.0 20.0 20.0"
