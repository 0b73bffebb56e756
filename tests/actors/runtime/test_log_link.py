"""The lines of many processes are printed by one, whole and in order, and nobody waits for it."""

import asyncio
import io
import time
from pathlib import Path

from doorstep.actors.runtime.log_link import LineLink, LinePrinter


async def test_lines_of_many_are_printed_whole(tmp_path: Path) -> None:
    out = io.StringIO()
    printer = LinePrinter(tmp_path / "log.sock", out)
    await printer.start()
    spares = [io.BytesIO() for _ in range(4)]
    links = [LineLink(tmp_path / "log.sock", spare) for spare in spares]

    def write(which: int) -> None:
        text = links[which].text()
        for number in range(200):
            text.write(f"{which} {number} " + "å" * 5000 + "\n")
        text.close()

    await asyncio.gather(*(asyncio.to_thread(write, which) for which in range(4)))
    await printer.stop(5)
    lines = out.getvalue().splitlines()
    assert all(line.endswith("å" * 5000) for line in lines)
    for which in range(4):
        numbers = [int(line.split()[1]) for line in lines if line.startswith(f"{which} ")]
        assert numbers == sorted(numbers)
        elsewhere = spares[which].getvalue().count(b"\n")
        assert len(numbers) + elsewhere + links[which].dropped == 200


def test_without_a_printer_lines_go_elsewhere(tmp_path: Path) -> None:
    spare = io.BytesIO()
    LineLink(tmp_path / "log.sock", spare).text().write("line\n")
    assert spare.getvalue() == b"line\n"


async def test_a_printer_that_hangs_costs_a_tenth_of_a_second(tmp_path: Path) -> None:
    printer = LinePrinter(tmp_path / "log.sock", io.StringIO())
    await printer.start()
    spare = io.BytesIO()
    link = LineLink(tmp_path / "log.sock", spare)
    began = time.monotonic()
    for _ in range(10_000):  # of 10 MB; the printer's loop is ours, and does nothing meanwhile
        link.write(b"x" * 999 + b"\n")
    assert time.monotonic() - began < 5  # a thousand seconds, if each line cost that
    assert link.dropped == 1
    assert spare.getvalue()
    await printer.stop(5)


async def test_a_printer_that_comes_back_is_found_again(tmp_path: Path) -> None:
    link = LineLink(tmp_path / "log.sock", io.BytesIO())
    for _ in range(2):
        out = io.StringIO()
        printer = LinePrinter(tmp_path / "log.sock", out)
        await printer.start()
        while not out.getvalue():
            await asyncio.to_thread(link.write, b"line\n")
            await asyncio.sleep(0.05)
        stopping = asyncio.create_task(printer.stop(0.1))
        await stopping
