"""The page: whole in itself, true to the record, and deaf to what a guest prints."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from harness.cli import main
from harness.record.history.ingest import import_folders
from harness.record.history.store import History
from harness.record.load import load_run
from harness.record.page.historypage import history_page
from harness.record.page.plots import Bar, Lane, Line, bars, per_second, timeline
from harness.record.page.runpage import compare_page, run_page
from tests import record_samples as samples

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""

HOSTILE = (
    "<script>document.title='owned'</script>",
    "</pre></details><img src=x onerror=\"document.title='owned'\">",
    "javascript:alert(1)",
    "\x1b]0;owned\x07\x1b[31m",
    "\u202edrowssap\u2066",
    "{{ 7 * 7 }} {% raw %}",
    "]]> --> <!-- ' \" ` &amp; \ud800 \x00",
    "https://example.com/track.png",
)


def hostile_trial(number: int = 1) -> dict[str, Any]:
    """Every text that a guest can choose says something nasty."""
    evil = " ".join(HOSTILE)
    splat = samples.splat(
        title=f"KASAN: {evil}",
        **{"headline": evil, "text": evil * 3, "task": evil, "object": evil, "scenario": evil},
        **{"function": "evil", "place": "mm/rmap.c:1830", "corrupted": evil, "race_key": evil},
    )
    splat["stacks"][0]["frames"][0] |= {"function": evil, "place": evil}
    trial = samples.trial("FAIL", number, splats=[splat])
    trial["reasons"] = [{"oracle": evil, "text": evil}] * 3
    trial["kernel"] |= {"release": evil, "compiler": evil}
    trial["reproducer"] |= {"counts": {evil: 3}, "out_tail": evil, "err_tail": evil}
    trial["life"] = [{"event": "PANICKED", "detail": evil}]
    trial["pace"]["counters"] |= {f"{evil}.{evil}": [[0.1, 1], [0.5, 3]], evil: [[0, 1], [1, 2]]}
    trial["sources"] = [{"place": "mm/rmap.c:1830", "first": 1829, "lines": [evil, evil]}]
    return trial


class Tags(HTMLParser):
    """Element names and attributes as a browser's parser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    trials = [
        samples.trial("FAIL", 1, kernel="v5.10-anon-race"),
        samples.trial("FAIL", 2, kernel="v5.10-anon-race"),
        samples.trial("PASS", 3),
        samples.trial("INCONCLUSIVE", 4, kernel="stock"),
        samples.trial("SKIP", 5, case="gigantic"),
        samples.trial("ERROR", 6, case="gigantic", kernel="stock"),
        hostile_trial(7),
    ]
    return samples.write_run(tmp_path, samples.run(trials))


def page_of(folder: Path) -> str:
    return run_page(load_run(folder), folder / "report.html", {})


def test_a_hostile_guest_adds_no_element(run: Path) -> None:
    text = page_of(run)
    found = Tags(text)
    names = [tag for tag, _ in found.tags]
    assert names.count("script") == 1
    assert "img" not in names
    assert not [a for _, attrs in found.tags for a in attrs if a.startswith("on")]
    hrefs = [attrs.get("href") or "" for tag, attrs in found.tags if tag == "a"]
    assert not [href for href in hrefs if not re.match(r"#|\d{3}-", href)]
    assert "49" not in re.findall(r"{{ 7 \* 7 }} (\S+)", text)
    for forbidden in ("\x1b", "\x00", "\u202e", "\ud800"):
        assert forbidden not in text
    assert "\\u202e" in text
    text.encode()


def test_nothing_is_asked_of_a_network(run: Path) -> None:
    for tag, attrs in Tags(page_of(run)).tags:
        for name in ("src", "href", "srcset", "data", "action"):
            value = attrs.get(name) or ""
            assert not re.match(r"(?i)\s*(https?:|//|javascript:)", value), (tag, value)


def test_the_page_says_what_the_record_says(run: Path) -> None:
    text = page_of(run)
    assert "3 of 7 trials failed" in text
    assert "2 of 2 failed" in text
    for word in ("mm/rmap.c:1830", "only 3 of 20 needed", "anon_vma_fork", "splat after 1.2 s"):
        assert word in text
    ids = [attrs["id"] for _, attrs in Tags(text).tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = {(attrs.get("href") or "")[1:] for tag, attrs in Tags(text).tags if tag == "a"}
    assert {link for link in links if link.startswith("trial-")} <= set(ids)


def test_files_are_linked_beside_the_run_and_only_there(run: Path, tmp_path: Path) -> None:
    assert "001-anon_fork_migrate--v5.10-anon-race/console.log" in page_of(run)
    shutil.rmtree(run / "001-anon_fork_migrate--v5.10-anon-race")
    assert "001-anon_fork_migrate--v5.10-anon-race/console.log" not in page_of(run)


def test_documents_of_older_harnesses_make_a_page(tmp_path: Path) -> None:
    old = samples.trial("FAIL", 1)
    for key in ("pace", "sources"):
        del old[key]
    kept = ("family", "kind", "title", "headline", "function", "place", "signature", "task")
    old["splats"] = [{key: old["splats"][0][key] for key in (*kept, "start", "end")}]
    old["machine"] = {"name": "root@host"}
    run = samples.write_run(tmp_path, samples.run([old]))
    assert "rmap_walk_anon" in page_of(run)


def test_an_empty_run_has_a_page(tmp_path: Path) -> None:
    assert "No trial was recorded" in page_of(samples.write_run(tmp_path, samples.run([])))


def test_runs_compared_show_what_differs_first(tmp_path: Path) -> None:
    runs = []
    for number, verdict in enumerate(("PASS", "FAIL"), 1):
        trials = [samples.trial(verdict, 1), samples.trial("PASS", 2, case="same")]
        name = f"2026030{number}-060000-00aa"
        runs.append(load_run(samples.write_run(tmp_path, samples.run(trials, name))))
    text = compare_page(runs, tmp_path / "c.html", {})
    assert "1 cell differ" in text
    assert text.index("What differs") < text.index("What failed")
    differences = text[text.index('id="differences"') : text.index('id="failed"')]
    assert "anon_fork_migrate" in differences
    assert "same" not in differences


def test_a_night_of_thousands_stays_small(tmp_path: Path) -> None:
    run = samples.write_run(tmp_path, samples.run(samples.many(3000)))
    text = page_of(run)
    assert len(text.encode()) < 5_000_000
    assert "3\u202f000 trials" in text
    assert text.count('<details class="trial') == 50


def test_a_history_has_a_page(tmp_path: Path) -> None:
    run = samples.write_run(tmp_path, samples.run(samples.many(400)))
    with History(tmp_path / "h.db") as history:
        import_folders(history, [run])
        text = history_page(history, tmp_path / "h.html")
    assert "Rates over time" in text
    assert "invalid_migration_vma" in text
    assert "as printed" in text  # of the documents that it keeps


def test_commands(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").is_file()
    assert main(["report", "--results", str(tmp_path), "-o", str(tmp_path / "x.html")]) == 0
    assert main(["history", "import", str(run)]) == 0
    assert main(["report", "--all", "-o", str(tmp_path / "all.html")]) == 0
    capsys.readouterr()
    for words, complaint in (
        (["report", "nothing"], "no such run"),
        (["report", str(tmp_path / "x.html")], "x.html: no such folder"),
        (["report", "--compare", str(run)], "two runs"),
        (["report", str(run), "-o", "/nowhere/x.html"], "no such folder"),
    ):
        assert main(words) == 2
        assert complaint in capsys.readouterr().err
    (run / "result.json").write_text('{"schema": 1, "tri')
    assert main(["report", str(run)]) == 2
    assert "half copied" in capsys.readouterr().err


def test_rates_come_from_slopes() -> None:
    assert per_second([(0.0, 0), (1.0, 10), (3.0, 10)]) == [(0, 10), (1, 10), (1, 0), (3, 0)]
    assert per_second([(1.0, 5), (1.0, 9), (2.0, 3)]) == [(1, 0), (1, 0), (1, 0), (2, 0)]


@pytest.mark.parametrize("points", [[], [(0.0, 0)], [(0.0, 1e300), (1.0, 0)], [(0, 0), (0, 9)]])
def test_odd_points_draw_something(points: list[tuple[float, float]]) -> None:
    lane = Lane("<b>", "u", (Line("&", points), Line("x", [(0, 1)])))
    drawn = timeline([lane], 0.0, [], "label")
    assert "&lt;b&gt;" in drawn
    assert "nan" not in drawn
    assert "<svg" in bars([Bar("a", None), Bar("b", 0.5)], "label")


def bisection() -> dict[str, Any]:
    evil = " ".join(HOSTILE)
    commits = [
        {
            **{"id": f"{n:040x}", "subject": f"mm: change {n} {evil if n == 3 else ''}"},
            **{"probability": 0.9 if n == 6 else 0.01, "runs": n, "failed": n // 2},
        }
        for n in range(10)
    ]
    commits[2]["skipped"] = "does not build"
    log = [{"commit": "0" * 40, "text": "3 runs, 1 failed"}]
    return {
        **{"kind": "bisect", "schema": 1, "title": "Bisection", "commits": commits, "log": log},
        "answer": "change 6, with 90 %",
    }


def score(kind: str = "score") -> dict[str, Any]:
    cells = {"a": {"runs": 5, "failed": 4, "seconds": 1.5}, "b": {"runs": 5, "failed": 0}}
    rows = [
        {"name": "anon-rmap-locked", "about": "2020", "cells": cells},
        {"name": "control", "clean": True, "cells": {"a": {"runs": 9, "failed": 0}}},
        {"name": HOSTILE[0], "cells": {"b": {"runs": 0, "failed": 0, "changed": HOSTILE[1]}}},
    ]
    return {"kind": kind, "schema": 1, "title": "Score", "cases": ["a", "b", "c"], "rows": rows}


def test_what_score_and_nightly_write_has_pages(tmp_path: Path) -> None:
    attempt = {
        **{"case": "a", "scenarios": [], "seconds": 5, "verdict": "FAIL", "reason": HOSTILE[0]},
        **{"oracle": "O1", "cost": 9.0, "at": 2.5, "exercised": True, "folder": "x"},
    }
    row: dict[str, Any] = {
        "name": HOSTILE[1],
        "kind": "bug",
        "content": "",
        "fault": "",
        "caught": None,
    }
    row |= {"nearest": None, "alarms": [], "attempts": [attempt]}
    written: dict[str, Any] = {
        "schema": 1,
        "command": ["harness", "score"],
        "measured": {
            **{"base": "v5.10-debug", "budget": 60, "machine": "two-nodes"},
            **{"instrumentation": [], "cases": ["a"]},
        },
        "rows": [row],
        "score": {"caught": 1, "bugs": 1, "not_run": 0, "false_alarms": 0},
    }
    change = {"change": "new", "kernel": "k", "case": "a", "title": "x", "tonight": [3, 9]}
    for name, document, word in (
        ("s.json", written, "1 of 1 bugs caught"),
        ("2026-01-02.json", [change | {"before": [0, 9]}], "0 of 9 before"),
    ):
        (tmp_path / name).write_text(json.dumps(document))
        assert main(["report", str(tmp_path / name)]) == 0
        assert word in (tmp_path / name).with_suffix(".html").read_text()


@pytest.mark.parametrize("document", [bisection(), score(), score("night")])
def test_campaigns_have_pages(
    tmp_path: Path, document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps(document))
    assert main(["report", str(file)]) == 0
    text = (tmp_path / "x.html").read_text()
    names = [tag for tag, _ in Tags(text).tags]
    assert (names.count("script"), names.count("img")) == (1, 0)
    assert ("change 6, with 90 %" if document["kind"] == "bisect" else "caught") in text
    capsys.readouterr()
    broken = document | {"title": 7}
    file.write_text(json.dumps(broken))
    assert main(["report", str(file)]) == 2
    assert "x.json: title: 7 is not" in capsys.readouterr().err


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("no chromium on this host: harness doctor names the package")
    # Root may not use the sandbox, as in a container; the page is our own.
    settings = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}
    with sync_playwright() as play, play.chromium.launch(**settings) as opened:  # type: ignore[arg-type]
        yield opened


def opened(browser: Browser, file: Path, **options: Any) -> tuple[Page, list[str]]:
    """The page in a browser, and what it complained of or asked for."""
    page = browser.new_context(**options).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file:", "data:")) else said.append(request.url)
        ),
    )
    page.goto(file.as_uri())
    return page, said


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_has_nothing_to_complain_of(browser: Browser, run: Path, scheme: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    file = run / "report.html"
    file.write_text(page_of(run))
    page, said = opened(browser, file, color_scheme=scheme, bypass_csp=False)
    assert page.title() == "Run 20260301-060000-00aa"
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert said == []
    page.close()
    # axe is a script of its own, which the page's policy does not let in.
    page, _ = opened(browser, file, color_scheme=scheme, bypass_csp=True)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    found = Axe().run(page).response["violations"]
    assert [(v["id"], v["impact"], v["nodes"][0]["html"]) for v in found] == []


def test_a_phone_scrolls_only_downward(browser: Browser, run: Path) -> None:
    file = run / "report.html"
    file.write_text(page_of(run))
    page, said = opened(browser, file, viewport={"width": 390, "height": 844}, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert said == []


def test_a_cell_leads_to_its_trial(browser: Browser, run: Path) -> None:
    file = run / "report.html"
    file.write_text(page_of(run))
    page, _ = opened(browser, file)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    target = page.locator("#trial-4")
    assert not target.is_visible()
    page.locator("table.matrix a", has_text="INCONCLUSIVE").press("Enter")
    target.wait_for(state="visible")


def test_print_opens_what_failed(browser: Browser, run: Path, tmp_path: Path) -> None:
    file = run / "report.html"
    file.write_text(page_of(run))
    page, said = opened(browser, file)
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert said == []
    assert json.loads(page.evaluate("JSON.stringify(location.protocol)")) == "file:"
