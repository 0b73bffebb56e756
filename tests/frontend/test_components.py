"""The React components in real browsers: what axe finds, what fits, and what a keyboard reaches."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.demo.browser import Tab
from tests.frontend.conftest import ARTIFACTS, npm, serving, what_axe_finds
from tests.support.remote import RemoteBrowser, RemoteTab

UNREACHABLE = '{code: "unreachable", detail: "The server did not answer.", retryable: true}'

SCREENS = {
    "phone": (320, 640, {}),
    "laptop": (1280, 900, {}),
    "dark": (1280, 900, {"prefers-color-scheme": "dark"}),
    "forced-colours": (1280, 900, {"forced-colors": "active"}),
    "4k": (3840, 2160, {}),
}
"""Width and height in CSS pixels, and media features, which only Chromium can be told to prefer."""


@pytest.fixture(scope="module")
def pages(built: Path) -> Path:
    """The directory of a page with every component in every state."""
    npm("run", "gallery", "--workspace", "@doorstep/components", directory=built)
    return built / "packages" / "components" / "dist" / "gallery"


@pytest.fixture
async def gallery(pages: Path, browser: RemoteBrowser) -> AsyncIterator[RemoteTab]:
    """A tab with that page."""
    async with serving(pages) as address:
        tab = await browser.tab()
        await tab.open(address)
        await tab.until("Boolean(window.gallery && document.querySelector('.ds-status'))")
        await tab.evaluate("gallery.fill()")
        await tab.evaluate(f"gallery.status({{state: 'waiting', retryInMs: 4000, because: {UNREACHABLE}}})")
        await tab.until("document.querySelector('.ds-status button') !== null")
        yield tab


def screens_of(tab: RemoteTab) -> Sequence[str]:
    """Those that its browser can show."""
    return [name for name, (*_, features) in SCREENS.items() if isinstance(tab, Tab) or not features]


async def show(tab: RemoteTab, screen: str) -> None:
    width, height, features = SCREENS[screen]
    await tab.size(width, height)
    if isinstance(tab, Tab):
        wanted = {"prefers-color-scheme": "light", "prefers-reduced-motion": "reduce", **features}
        listed = [{"name": name, "value": value} for name, value in wanted.items()]
        await tab.call("Emulation.setEmulatedMedia", features=listed)


async def test_axe_finds_nothing_and_everything_fits(
    gallery: RemoteTab, request: pytest.FixtureRequest
) -> None:
    browser = request.node.callspec.params["browser"]
    for screen in screens_of(gallery):
        await show(gallery, screen)
        found = await what_axe_finds(gallery)
        assert found == "[]", f"{screen}: {found}"
        width = await gallery.evaluate("document.documentElement.scrollWidth")
        assert width <= SCREENS[screen][0], screen
        await gallery.screenshot(ARTIFACTS / f"components-{screen}-{browser}.png")


async def test_every_button_is_reached_seen_and_pressed_from_the_keyboard(gallery: RemoteTab) -> None:
    await gallery.evaluate("document.body.focus()")
    names = []
    for _ in range(6):
        await gallery.press("Tab")
        focused = "(e => e.getAttribute('aria-label') ?? e.labels?.[0]?.textContent ?? e.textContent)"
        names.append(await gallery.evaluate(f"{focused}(document.activeElement)"))
    assert names == [
        "Try again now",
        "Choose essay files, or drop them here",
        "Stop: queued.txt",
        "Stop: sending.txt",
        "Send again: failed.txt",
        "Send again: aborted.txt",
    ]
    drawn = "(({outlineStyle, outlineWidth}) => [outlineStyle, outlineWidth])"
    style, width = await gallery.evaluate(f"{drawn}(getComputedStyle(document.activeElement))")
    assert style != "none"  # the width may be told all the same
    assert float(width.removesuffix("px")) >= 2
    await gallery.evaluate("document.querySelector('.ds-uploads [data-state=failed] button').focus()")
    await gallery.press("Enter", "\r")
    await gallery.until("gallery.calls().at(-1) === 'key-failed.txt sending'")
    await gallery.until("document.activeElement.getAttribute('aria-label') === 'Stop: failed.txt'")


async def test_a_file_that_becomes_an_essay_is_shown_in_its_row_and_said_once(gallery: RemoteTab) -> None:
    await gallery.evaluate("gallery.assign('0f9d2c1e-0000-4000-8000-000000000004')")
    row = "[...document.querySelectorAll('tr')].find(row => row.textContent.includes('作文.txt'))"
    await gallery.until(f"{row}.dataset.status === 'assigned'")
    await gallery.until("document.querySelector('.ds-said').textContent.includes('become')")
    assert (
        await gallery.evaluate("document.querySelectorAll('[aria-live=assertive], [role=alert]').length") == 0
    )
