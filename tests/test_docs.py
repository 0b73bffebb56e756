"""The documentation names what is there: every decision is listed, and no link leads nowhere."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.patient

ROOT = Path(__file__).parents[1]
DECISIONS = ROOT / "docs" / "decisions"
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "frontend" / "packages").glob("*/*.md")]

STATUS = re.compile(r"accepted|superseded by \[\d{4}]\(\d{4}-[\w-]+\.md\)")


def _listed() -> dict[str, tuple[str, str]]:
    """File of each decision in the index -> its title and its status there."""
    text = (DECISIONS / "README.md").read_text()
    rows = re.findall(r"^\| \[(\d{4})]\((\S+)\) \| (.+) \| (.+) \|$", text, re.MULTILINE)
    assert [number for number, *_ in rows] == sorted(number for number, *_ in rows)
    return {file: (f"{number}: {title}", status) for number, file, title, status in rows}


def test_every_decision_is_listed_with_its_title() -> None:
    files = DECISIONS.glob("[0-9]*.md")
    titles = {file.name: file.read_text().partition("\n")[0].removeprefix("# ") for file in files}
    assert {file: title for file, (title, _) in _listed().items()} == titles


def test_every_decision_has_a_status() -> None:
    assert {file: status for file, (_, status) in _listed().items() if not STATUS.fullmatch(status)} == {}


def test_no_two_decisions_have_one_number() -> None:
    numbers = [file.name[:4] for file in DECISIONS.glob("[0-9]*.md")]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text)
    assert [target for target in targets if not (page.parent / target).exists()] == []
