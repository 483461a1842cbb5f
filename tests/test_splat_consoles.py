"""Recorded consoles: each ``consoles/NAME.log`` gives the reports that ``NAME.json`` lists."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.splat.reader import Reader, read

LOGS = sorted((Path(__file__).parent / "consoles").glob("*.log"))


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_console(log: Path) -> None:
    expected = json.loads(log.with_suffix(".json").read_text(encoding="utf-8"))
    found = read(log.read_bytes())
    seen = [
        {key: getattr(splat, key) for key in wanted}
        for wanted, splat in zip(expected, found, strict=False)
    ]
    assert seen == expected
    assert len(found) == len(expected), [splat.title for splat in found]


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_a_console_that_grows_gives_the_same(log: Path) -> None:
    text = log.read_bytes()
    reader = Reader(prefixed=True)
    grown = [
        splat
        for begin in range(0, len(text), 997)
        for splat in reader.feed(text[begin : begin + 997])
    ]
    grown += reader.finish()
    assert sorted(splat.start for splat in grown) == [splat.start for splat in read(text)]
