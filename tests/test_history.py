"""The history: every finished trial, none half, whatever happens to who writes it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema
import pytest

from harness.cli import main
from harness.errors import EnvironmentFault, UsageError
from harness.paths import PROJECT
from harness.record.history import questions, schema
from harness.record.history.ingest import add_run, catch_up, documents, import_folders
from harness.record.history.salvage import salvage
from harness.record.history.store import History, history_file
from harness.record.interval import wilson
from harness.record.load import load_run
from tests import record_samples as samples

SCHEMA = json.loads((PROJECT / "results" / "result.schema.json").read_text())


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "h.db") as opened:
        yield opened


@pytest.fixture
def run(tmp_path: Path) -> Path:
    trials = [
        samples.trial("FAIL", 1, kernel="v5.10-anon-race"),
        samples.trial("PASS", 2),
        samples.trial("INCONCLUSIVE", 3, kernel="stock"),
    ]
    return samples.write_run(tmp_path / "results", samples.run(trials))


def test_samples_follow_the_schema() -> None:
    verdicts = ("PASS", "FAIL", "INCONCLUSIVE", "SKIP", "ERROR")
    document = samples.run([samples.trial(verdict) for verdict in verdicts])
    jsonschema.validate(document, SCHEMA)


def test_a_run_folder_is_taken_once(history: History, run: Path) -> None:
    assert import_folders(history, [run.parent]).trials == 3
    assert import_folders(history, [run]).trials == 0
    totals = questions.totals(history)
    assert (totals.runs, totals.verdicts) == (1, {"FAIL": 1, "PASS": 1, "INCONCLUSIVE": 1})
    assert history.check() == []


def test_a_document_comes_back_as_it_was(history: History, run: Path) -> None:
    import_folders(history, [run])
    kept = documents(history, [1, 2, 3])
    assert list(kept.values()) == json.loads((run / "result.json").read_text())["trials"]


def test_kernels_are_kept_with_how_to_build_them(history: History, run: Path) -> None:
    (run / "config-v5.10-debug").write_text("CONFIG_KASAN=y\n")
    import_folders(history, [run])
    rows = {row["kernel"]: row for row in questions.kernels(history)}
    assert rows["v5.10-debug"]["source"].startswith("Debian")
    assert json.loads(rows["v5.10-debug"]["patches"])[0]["file"] == "0001-control.patch"
    kept = history.db.execute("SELECT count(*) FROM kernel WHERE config IS NOT NULL").fetchone()
    assert kept[0] == 1


def test_rates_count_what_was_decided(history: History, run: Path) -> None:
    import_folders(history, [run])
    rows = {row["kernel"]: (row["failed"], row["decided"]) for row in questions.rates(history)}
    assert rows == {"v5.10-anon-race": (1, 1), "v5.10-debug": (0, 1), "stock": (0, 0)}


def test_rates_of_two_reproducers_are_two(history: History, tmp_path: Path) -> None:
    trials = [samples.trial("FAIL", 1), samples.trial("PASS", 2), samples.trial("PASS", 3)]
    trials[0]["reproducer"]["id"] = "a" * 20
    trials[1]["reproducer"]["id"] = trials[2]["reproducer"]["id"] = "b" * 20
    import_folders(history, [samples.write_run(tmp_path / "results", samples.run(trials))])
    rows = {row["reproducer"][0]: row for row in questions.rates(history)}
    assert {key: (row["failed"], row["decided"]) for key, row in rows.items()} == {
        "a": (1, 1),
        "b": (0, 2),
    }


def test_a_signature_over_time(history: History, tmp_path: Path) -> None:
    for month in (3, 1, 2):
        started = f"2026-{month:02}-01T06:00:00+00:00"
        trials = [
            samples.trial("FAIL", 1, started=started),
            samples.trial("PASS", 2, started=started),
        ]
        name = f"2026{month:02}01-060000-00aa"
        import_folders(history, [samples.write_run(tmp_path, samples.run(trials, name))])
    (row,) = questions.signatures(history)
    assert (row["first_seen"][:7], row["last_seen"][:7], row["trials"]) == ("2026-01", "2026-03", 3)
    wanted = questions.signature(history, "4c1f")
    seen = [(r["day"], r["seen"], r["decided"]) for r in questions.sightings(history, wanted)]
    assert seen == [("2026-01-01", 1, 2), ("2026-02-01", 1, 2), ("2026-03-01", 1, 2)]
    with pytest.raises(UsageError, match="no signature 'ffff'"):
        questions.signature(history, "ffff")


def test_what_only_came_of_another_report_is_told_apart(
    own_history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = samples.write_run(tmp_path, samples.run([samples.cascade()]))
    assert main(["history", "import", str(folder)]) == 0
    with History(own_history) as history:
        views = history.db.execute("SELECT place_in_trial, follows, assertion FROM splats")
        assert sorted(tuple(row)[:2] for row in views) == [(0, None), (1, 0), (2, 0), (3, None)]
        own = {row["signature"][:4]: row["own"] for row in questions.signatures(history)}
        assert own == {"4c1f": 1, "eeee": 1, "dddd": 0}
    capsys.readouterr()
    assert main(["history"]) == 0
    assert samples.CONSEQUENCE not in capsys.readouterr().out
    assert main(["history", "signatures"]) == 0
    listed, came = capsys.readouterr().out.split("1 more came of other reports alone:")
    assert samples.CONSEQUENCE not in listed
    assert samples.CONSEQUENCE in came
    assert main(["history", "signature", "dddd"]) == 0
    assert "in 1 of them behind another report of its task" in capsys.readouterr().out


def test_views_answer_any_sql_tool(history: History, run: Path) -> None:
    import_folders(history, [run])
    other = sqlite3.connect(f"file:{history.file}?mode=ro", uri=True)
    views = [row[0] for row in other.execute("SELECT name FROM sqlite_master WHERE type = 'view'")]
    assert {"runs", "trials", "splats", "signatures", "rates", "kernels", "counters"} == set(views)
    for view in views:
        assert other.execute(f"SELECT * FROM {view}").fetchall()
    other.close()


def test_a_question_changes_nothing(history: History, run: Path) -> None:
    import_folders(history, [run])
    with History(history.file, readonly=True) as reader:
        for query in ("DELETE FROM trial", "DROP TABLE run", "nonsense", "SELECT 1; SELECT 2"):
            with pytest.raises((UsageError, EnvironmentFault)):
                questions.select(reader, query)
    assert questions.totals(history).trials == 3


def test_a_run_that_grew_behind_our_back_is_taken_up(history: History, run: Path) -> None:
    import_folders(history, [run])
    document = json.loads((run / "result.json").read_text())
    document["trials"].append(samples.trial("PASS", 4))
    (run / "result.json").write_text(json.dumps(document))
    catch_up(history)
    assert questions.totals(history).trials == 4


def test_what_cannot_be_read_is_told_and_the_rest_taken(history: History, tmp_path: Path) -> None:
    base = tmp_path / "results"
    good = samples.write_run(base, samples.run([samples.trial()]))
    half = base / "20260301-060000-00bb"
    half.mkdir()
    (half / "result.json").write_bytes((good / "result.json").read_bytes()[:900])
    newer = samples.run([samples.trial()], "20260301-060000-00cc", schema=99)
    samples.write_run(base, newer)
    trials = [samples.trial(number=1), {"case": "x"}, samples.trial(number=3, verdict="MAYBE")]
    trials.append(samples.trial(number=4) | {"folder": "../../etc"})
    odd = samples.run([], "20260301-060000-00dd")
    (samples.write_run(base, odd) / "result.json").write_text(json.dumps(odd | {"trials": trials}))
    taken = import_folders(history, [base])
    assert (taken.runs, taken.trials, len(taken.complaints)) == (2, 2, 5)
    told = "\n".join(taken.complaints)
    for word in ("half copied", "version 99", "trial 2", "'MAYBE'", "not below"):
        assert word in told


def test_two_harnesses_write_at_once(tmp_path: Path) -> None:
    file = tmp_path / "h.db"
    runs = [
        samples.write_run(
            tmp_path, samples.run([samples.trial(number=n) for n in range(1, 21)], f"run-{writer}")
        )
        for writer in range(4)
    ]
    code = (
        "import sys; from pathlib import Path\n"
        "from harness.record.history.ingest import add_trial, register\n"
        "from harness.record.history.store import History\n"
        "from harness.record.load import load_run\n"
        "run = load_run(Path(sys.argv[2]))\n"
        "for trial in run.trials:\n"
        "    with History(Path(sys.argv[1])) as history: add_trial(history, run, trial)\n"
    )

    def write(folder: Path) -> int:
        return subprocess.run(
            [sys.executable, "-c", code, str(file), str(folder)], timeout=120
        ).returncode

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, runs)) == [0, 0, 0, 0]
    with History(file) as history:
        assert questions.totals(history).trials == 80
        assert history.check() == []


def test_a_newer_history_is_left_alone(history: History, tmp_path: Path) -> None:
    history.db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    history.close()
    before = history.file.read_bytes()
    with pytest.raises(UsageError, match="this harness knows"):
        History(history.file)
    # Its writer says that older readers may read it.
    with History(history.file, readonly=True) as reader:
        assert questions.totals(reader).trials == 0
    db = sqlite3.connect(history.file)
    db.execute("UPDATE meta SET value = '99'")
    db.commit()
    db.close()
    with pytest.raises(UsageError, match="use the newer harness"):
        History(history.file, readonly=True)
    assert len(before) == history.file.stat().st_size


def test_every_old_version_is_brought_up_to_date(tmp_path: Path) -> None:
    for version in range(schema.VERSION):
        file = tmp_path / f"{version}.db"
        db = sqlite3.connect(file)
        for step in schema.STEPS[:version]:
            db.executescript(step)
        if version:
            db.execute(f"PRAGMA application_id = {schema.APPLICATION}")
        db.execute(f"PRAGMA user_version = {version}")
        db.close()
        with History(file) as history:
            assert history.check() == []
            assert questions.totals(history).trials == 0


def test_a_history_of_version_1_keeps_what_it_holds(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "1.db")
    db.executescript(schema.STEPS[0])
    db.executescript(
        f"""PRAGMA application_id = {schema.APPLICATION}; PRAGMA user_version = 1;
        INSERT INTO run (id, name, started, command, host, folder)
        VALUES (1, 'r', '', '[]', '', '');
        INSERT INTO kernel VALUES (1, 'k', '', '', '', '', '[]', '[]', NULL);
        INSERT INTO trial
        VALUES (1, 1, 'f', 'c', 'FAIL', '', '', '2026', 1, 'm', 1, 1, 1, 1, '[]', 's');
        INSERT INTO splat VALUES (1, 0, 0, 's', 'race', 'KASAN', '', 'title', 'f', 'p');"""
    )
    db.close()
    with History(tmp_path / "1.db") as history:
        import_folders(
            history, [samples.write_run(tmp_path, samples.run([samples.trial("FAIL", 1)]))]
        )
        assert {row["signature"] for row in questions.signatures(history)} == {"s", "4c1f00aa11bb"}
        assert history.check() == []


@pytest.mark.parametrize("content", [b"not a database at all, but long enough " * 40, b"\0" * 5000])
def test_a_file_that_is_no_history(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "h.db"
    file.write_bytes(content)
    with pytest.raises((EnvironmentFault, UsageError)):
        History(file)
    assert file.read_bytes() == content


def test_the_database_of_somebody_else(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "h.db")
    db.execute("CREATE TABLE trial (x)")
    db.close()
    with pytest.raises(UsageError, match="no history of this harness"):
        History(tmp_path / "h.db")


def test_what_can_be_read_of_a_damaged_history_is_read(tmp_path: Path) -> None:
    file = tmp_path / "h.db"
    trials = [samples.trial("FAIL" if n % 3 else "PASS", n) for n in range(1, 201)]
    run = samples.write_run(tmp_path, samples.run(trials))
    with History(file) as history:
        import_folders(history, [run])
        history.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(file.read_bytes())
    at = len(content) // 2
    content[at : at + 3 * 4096] = random.Random(7).randbytes(3 * 4096)
    file.write_bytes(content)
    with History(file, readonly=True) as damaged:
        assert damaged.check() != []
    saved = salvage(file, tmp_path / "new.db")
    assert saved.trials >= 150
    assert file.read_bytes() == bytes(content)
    with History(tmp_path / "new.db") as history:
        assert history.check() == []
        assert questions.totals(history).trials == saved.trials
    with pytest.raises(UsageError, match="is there already"):
        salvage(file, tmp_path / "new.db")


def test_a_history_that_lost_its_first_bytes_is_salvaged(tmp_path: Path) -> None:
    file = tmp_path / "h.db"
    run = samples.write_run(tmp_path, samples.run([samples.trial("PASS", n) for n in range(1, 9)]))
    with History(file) as history:
        import_folders(history, [run])
    content = b"lost" * 5 + file.read_bytes()[20:]
    file.write_bytes(content)
    assert salvage(file, tmp_path / "new.db").trials == 8
    assert file.read_bytes() == content
    file.write_bytes(b"nothing of a database " * 400)
    with pytest.raises(EnvironmentFault, match="no trial can be read"):
        salvage(file, tmp_path / "other.db")
    assert not (tmp_path / "other.db").exists()


def test_damage_anywhere_is_told_and_not_written_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "h.db"
    run = samples.write_run(tmp_path, samples.run([samples.trial("FAIL", n) for n in range(1, 60)]))
    with History(file) as history:
        import_folders(history, [run])
    sound = file.read_bytes()
    questions = (["history"], ["history", "rates"], ["history", "signatures"], ["history", "check"])
    told = 0
    for page in range(1, len(sound) // 4096, 7):
        content = bytearray(sound)
        content[page * 4096 : (page + 1) * 4096] = random.Random(page).randbytes(4096)
        file.write_bytes(content)
        page_file = str(tmp_path / "all.html")
        for words in (*questions, ["report", "--all", "-o", page_file]):
            status = main([*words, "--history", str(file)])
            assert status in (0, 3)
            said = capsys.readouterr()
            told += status == 3
            assert status == 0 or "damaged" in said.out + said.err
        assert file.read_bytes() == content
    assert told


WRITER = """
import random, sys, time
from pathlib import Path
from harness.record.folder import RunFolder
from tests.test_record import CASE, result_of
from tests.fake import Script
import tests.conftest
import harness.trial.run as run
from harness.kernel.built import BuiltKernel
for name in ("DRAIN_QUIET", "DRAIN_LONGEST", "LATE", "SETTLE", "MARKER"):
    setattr(run, name, 0.0)
run.POLL = 0.0
base = Path(sys.argv[1])
kernel = BuiltKernel("k", "0123456789abcdef", "5.10", base / "b", base / "c")
prepared = [result_of(Script(), kernel, base / "prepared")]
folder = RunFolder(["harness", "run"], base / "results")
print("ready", folder.name, flush=True)
import dataclasses
while True:
    place = folder.trial_folder("t")
    place.mkdir()
    folder.add(dataclasses.replace(prepared[0], folder=place), ["harness", "run"])
    print(place.name, flush=True)
"""


def killed_writers(base: Path, kills: int, seed: int) -> tuple[int, int]:
    """Kill a writer ``kills`` times at random moments; finished trials, and how many were found.

    The writer says of each trial that it is finished; whatever it said must be there.
    """
    dice = random.Random(seed)
    finished: set[tuple[str, str]] = set()
    file = base / "h.db"
    env = dict(os.environ, HUGETLB_HARNESS_HISTORY=str(file))
    for number in range(kills):
        place = base / str(number)
        place.mkdir()
        argv = [sys.executable, "-c", WRITER, str(place)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, env=env, cwd=PROJECT) as writer:
            assert writer.stdout
            word, _, name = writer.stdout.readline().decode().strip().partition(" ")
            assert word == "ready"
            # A moment within a trial, not of the clock: on a busy host nothing would be written.
            told = b"".join(writer.stdout.readline() for _ in range(dice.randrange(8)))
            time.sleep(dice.random() * 0.03)
            writer.send_signal(signal.SIGKILL)
            said = (told + writer.stdout.read()).decode().splitlines(keepends=True)
            finished |= {(name, line.strip()) for line in said if line.endswith("\n")}
        for run in (place / "results").iterdir():
            load_run(run)  # whole, or it raises
    with History(file) as history:
        catch_up(history)
        assert history.check() == []
        rows = history.db.execute("SELECT run, folder, id FROM trials").fetchall()
        there = {(row["run"], row["folder"]) for row in rows}
        whole = documents(history, [row["id"] for row in rows][:30_000])
        counts = dict(history.db.execute("SELECT trial, count(*) FROM counter GROUP BY trial"))
    for row in rows:  # none half: its document, and a row for each counter in it
        document = whole[row["id"]]
        named = {c["counter"] for c in document["exercised"]} | set(
            document["reproducer"]["counts"]
        )
        assert counts[row["id"]] == len(named)
    return len(finished), len(finished & there)


def test_killed_at_random_moments(tmp_path: Path) -> None:
    finished, found = killed_writers(tmp_path, kills=6, seed=20)
    assert finished > 6
    assert found == finished


def test_a_run_is_ingested_trial_by_trial(own_history: Path, tmp_path: Path) -> None:
    finished, found = killed_writers(tmp_path, kills=1, seed=3)
    assert found == finished
    assert history_file() == own_history


def test_wilson_against_known_values() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263, 15 of 148, 0 of 20, 29 of 29.
    for failed, trials, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (29, 29, 0.8830, 1.0),
    ):
        assert wilson(failed, trials) == pytest.approx((low, high), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


def test_commands(run: Path, own_history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history"]) == 2
    assert "no such history" in capsys.readouterr().err
    assert main(["history", "import", str(run.parent)]) == 0
    for words, word in (
        ([], "3 trials"),
        (["runs"], run.name),
        (["rates", "-k", "v5.10-anon-race"], "1 of 1"),
        (["signatures"], "rmap_walk_anon"),
        (["signature", "4c1f"], "2026-03-01"),
        (["kernels"], "linux-source-5.10"),
        (["sql", "SELECT verdict FROM trials WHERE kernel = 'stock'"], "INCONCLUSIVE"),
        (["check"], "sound"),
        (["salvage", "--to", str(run / "new.db")], "3 trials; 0"),
    ):
        assert main(["history", *words]) == 0
        assert word in capsys.readouterr().out
    assert main(["history", "sql", "SELEC"]) == 2
    assert "syntax error" in capsys.readouterr().err
    assert main(["history", "signature", "ffff"]) == 2
    assert main(["history", "import", str(run / "nothing")]) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")
def test_a_full_disk_loses_nothing_that_was_there(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(small)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        with History(small / "h.db") as history:
            with pytest.raises(EnvironmentFault, match="no space left"):
                for number in range(500):
                    trials = [samples.trial("FAIL", n) for n in range(1, 9)]
                    run = samples.write_run(tmp_path, samples.run(trials, f"run-{number}"))
                    add_run(history, load_run(run))
                    shutil.rmtree(run)
            kept = questions.totals(history).trials
        assert kept > 0
        assert kept % 8 == 0
        with History(small / "h.db", readonly=True) as history:
            assert history.check() == []
    finally:
        subprocess.run(["umount", str(small)], check=True)
