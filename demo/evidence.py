"""What the clients of `doorstep demo --check` wrote down, and the judgement of it. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from doorstep.demo.teachers import Teacher

LATENCY_LIMIT_MS = 500.0
ASSIGNED = "essay.slot.assigned"
FAILED = "essay.validation.failed"


@dataclass(frozen=True, slots=True)
class Sent:
    """A file that was uploaded, and what should become of it."""

    file_upload_id: str
    filename: str
    event: str
    sent_at: float
    """Monotonic seconds, when the upload began."""
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A notification that a device got."""

    at: float
    message: Mapping[str, Any]

    @property
    def file_upload_id(self) -> str | None:
        """The file it is about."""
        found: str | None = self.message["data"].get("file_upload_id")
        return found


@dataclass(slots=True)
class Evidence:
    """What one teacher's clients wrote down."""

    teacher: Teacher
    start_seq: int = 0
    """The number of the last notification before the upload."""
    sent: list[Sent] = field(default_factory=list)
    devices: list[list[Seen]] = field(default_factory=list)
    polled: Sequence[Mapping[str, Any]] = field(default_factory=list)
    """The same notifications, by HTTP."""
    results: Mapping[str, str | None] = field(default_factory=dict)
    """The result aggregator's view: file upload id -> essay id."""

    def latencies_ms(self) -> list[float]:
        """Of every expected notification at every device: upload begun to notification seen; sorted."""
        sent_at = {one.file_upload_id: one.sent_at for one in self.sent}
        seen = [one for device in self.devices for one in device if one.file_upload_id in sent_at]
        return sorted((one.at - sent_at[str(one.file_upload_id)]) * 1000 for one in seen)


def judge(evidence: Evidence) -> list[str]:
    """Everything that is wrong with what a teacher's clients saw; empty if all is well."""
    problems = [fault for device in evidence.devices for fault in _faults_of_device(evidence, device)]
    problems += _faults_between(evidence)
    return [f"{evidence.teacher.name}: {problem}" for problem in problems]


def _faults_of_device(evidence: Evidence, device: Sequence[Seen]) -> Iterable[str]:
    seen = Counter(one.file_upload_id for one in device)
    sent = {one.file_upload_id: one for one in evidence.sent}
    yield from (f"missing: {one.filename}" for one in evidence.sent if not seen[one.file_upload_id])
    yield from (
        f"doubled: {sent[file].filename}" for file, times in seen.items() if times > 1 and file in sent
    )
    yield from (f"somebody else's: {dict(one.message)}" for one in device if one.file_upload_id not in sent)
    numbers = [one.message["seq"] for one in device]
    if numbers != list(range(evidence.start_seq + 1, evidence.start_seq + 1 + len(device))):
        yield f"out of order, or with a gap: {numbers} after {evidence.start_seq}"
    for one in device:
        if one.file_upload_id in sent:
            yield from _faults_of(one, sent[str(one.file_upload_id)])


def _faults_of(seen: Seen, sent: Sent) -> Iterable[str]:
    late_by_ms = (seen.at - sent.sent_at) * 1000
    if late_by_ms > LATENCY_LIMIT_MS:
        yield f"late: {sent.filename}, {late_by_ms:.0f} ms"
    if seen.message["event"] != sent.event:
        yield f"{seen.message['event']} instead of {sent.event}: {sent.filename}"
    if seen.message["correlation_id"] != sent.correlation_id:
        yield f"correlation id {seen.message['correlation_id']}, not {sent.correlation_id}: {sent.filename}"


def _faults_between(evidence: Evidence) -> Iterable[str]:
    """Devices, polling and the result aggregator have to agree."""
    first = [one.message for one in evidence.devices[0]]
    for number, device in enumerate(evidence.devices[1:], start=2):
        if [one.message for one in device] != first:
            yield f"device {number} saw something else than device 1"
    if evidence.polled != first:
        yield "polling gives something else than the WebSocket"
    essays = {one["data"]["file_upload_id"]: one["data"].get("essay_id") for one in first}
    if essays != evidence.results:
        yield f"the result aggregator has other essays: {_differences(essays, evidence.results)}"
    if len(set(essays.values()) - {None}) != sum(essay is not None for essay in essays.values()):
        yield "two files have become the same essay"


def _differences(seen: Mapping[str, Any], stored: Mapping[str, Any]) -> str:
    files = [file for file in {*seen, *stored} if seen.get(file) != stored.get(file)]
    return ", ".join(f"{file}: {seen.get(file)} / {stored.get(file)}" for file in files)


def report(evidence: Sequence[Evidence]) -> Iterable[str]:
    """A table: what each teacher sent and saw, and how long it took from upload to notification."""
    columns = ("devices", "essays", "refused", "p50 ms", "p99 ms", "max ms")
    yield f"{'':<16}{'files':>7}" + "".join(f"{column:>9}" for column in columns)
    for one in evidence:
        yield _row(one.teacher.name, [one])
    yield _row("all", evidence)


def _row(name: str, evidence: Sequence[Evidence]) -> str:
    seen = [one.message["event"] for each in evidence for device in each.devices for one in device]
    latencies = sorted(each for one in evidence for each in one.latencies_ms()) or [float("nan")]
    files, devices = sum(len(one.sent) for one in evidence), sum(len(one.devices) for one in evidence)
    counts = f"{files:>7}{devices:>9}{seen.count(ASSIGNED):>9}{seen.count(FAILED):>9}"
    return f"{name:<16}{counts}" + "".join(f"{_quantile(latencies, q):>9.1f}" for q in (0.5, 0.99, 1.0))


def _quantile(ordered: Sequence[float], q: float) -> float:
    """Nearest rank."""
    return ordered[max(0, -int(-len(ordered) * q // 1) - 1)]
