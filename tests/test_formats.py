"""Formats of the field, each read back by the field's own tool."""

from __future__ import annotations

import email
import email.policy
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import junitparser
import kcidb_io
import pytest

from harness.cli import main
from harness.errors import UsageError
from harness.paths import PROJECT, cache_dir
from harness.record.formats.junit import junit
from harness.record.formats.kcidb import kcidb
from harness.record.formats.ktap import ktap
from harness.record.formats.mail import mail
from harness.record.load import Run, load_run
from tests import record_samples as samples
from tests.test_page import hostile_trial

VERDICTS = ("PASS", "FAIL", "INCONCLUSIVE", "SKIP", "ERROR")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    trials = [samples.trial(verdict, n) for n, verdict in enumerate(VERDICTS, 1)]
    trials.append(hostile_trial(6) | {"kernel": samples.trial(kernel="other")["kernel"]})
    trials.append(samples.trial("INCONCLUSIVE", 7, kernel="stock"))
    return samples.write_run(tmp_path, samples.run(trials))


@pytest.fixture
def run(folder: Path) -> Run:
    return load_run(folder)


def test_junit_is_read_back(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "x.xml"
    file.write_text(junit(run))
    xml = junitparser.JUnitXml.fromfile(str(file))
    assert (xml.tests, xml.failures, xml.errors, xml.skipped) == (7, 2, 1, 3)
    told = {}
    for suite in xml:
        assert suite.tests == len(list(suite))
        for case in suite:
            told[case.name[:3]] = [type(result).__name__ for result in case.result]
            assert case.result == [] or case.result[0].message
    kinds = [[], ["Failure"], ["Skipped"], ["Skipped"], ["Error"], ["Failure"], ["Skipped"]]
    assert told == {f"{n:03}": kind for n, kind in enumerate(kinds, 1)}


@pytest.fixture(scope="module")
def kunit_parser(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The kernel's own, of the newest source tree in the cache that knows KTAP (5.19 and later)."""
    store = cache_dir() / "sources.git"
    env = dict(os.environ, GIT_DIR=str(store))

    def git(*words: str) -> bytes:
        return subprocess.run(["git", *words], env=env, capture_output=True).stdout

    home = tmp_path_factory.mktemp("kunit")
    for tree in git("for-each-ref", "--format=%(refname)").decode().split():
        parser = git("show", f"{tree}:tools/testing/kunit/kunit_parser.py")
        if b"KTAP version" not in parser:
            continue
        (home / "kunit_parser.py").write_bytes(parser)
        printer = git("show", f"{tree}:tools/testing/kunit/kunit_printer.py")
        (home / "kunit_printer.py").write_bytes(printer)
        spec = importlib.util.spec_from_file_location("kunit_parser", home / "kunit_parser.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(home))
        try:
            sys.modules["kunit_parser"] = module
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(home))
        return module
    pytest.skip("no kernel source with a KTAP parser in the cache: harness build v6.1-debug")


def test_ktap_is_read_back_by_the_kernel(run: Run, kunit_parser: ModuleType, capsys: Any) -> None:
    test = kunit_parser.parse_run_tests(ktap(run).splitlines())
    capsys.readouterr()
    status = {}
    for suite in test.subtests:
        for each in suite.subtests:
            status[each.name[:3]] = each.status.name
            assert each.name
    assert status == {
        **{"001": "SUCCESS", "002": "FAILURE", "003": "SKIPPED", "004": "SKIPPED"},
        **{"005": "SKIPPED", "006": "FAILURE", "007": "SKIPPED"},
    }
    counts = test.counts
    assert (counts.passed, counts.failed, counts.skipped, counts.errors) == (1, 2, 4, 0)
    suites = {suite.name: suite.status.name for suite in test.subtests}
    assert suites == {"v5.10-debug": "FAILURE", "other": "FAILURE", "stock": "SKIPPED"}


def test_ktap_has_no_hash_but_in_front_of_directives(run: Run) -> None:
    for line in ktap(run).splitlines():
        words = line.strip()
        if words.startswith(("ok", "not ok")):
            assert words.count("#") == words.count("# SKIP") <= 1


def test_kcidb_is_valid(run: Run) -> None:
    report = kcidb(run)
    kcidb_io.schema.LATEST.validate(report)
    assert kcidb_io.schema.LATEST.major == report["version"]["major"]
    assert [test["status"] for test in report["tests"]] == [
        *("PASS", "FAIL", "DONE", "SKIP", "MISS", "FAIL", "DONE")
    ]
    builds = {build["id"] for build in report["builds"]}
    checkouts = {checkout["id"] for checkout in report["checkouts"]}
    assert {test["build_id"] for test in report["tests"]} == builds
    assert {build["checkout_id"] for build in report["builds"]} == checkouts
    assert {i["issue_id"] for i in report["incidents"]} == {i["id"] for i in report["issues"]}
    # As the description says: sha256 over the newline-terminated digests.
    argv = ["sh", "-c", f"printf '{'ab' * 32}\\n' | sha256sum | cut -c-64"]
    digest = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    assert report["checkouts"][0]["patchset_hash"] == digest


def test_what_came_of_a_report_is_no_issue_of_its_own(tmp_path: Path) -> None:
    folder = samples.write_run(tmp_path, samples.run([samples.cascade()]))
    report = kcidb(load_run(folder))
    kcidb_io.schema.LATEST.validate(report)
    comments = [issue["comment"] for issue in report["issues"]]
    assert comments == [
        "KASAN: use-after-free Write in other at mm/rmap.c:1830",
        f"{samples.TITLE} at mm/rmap.c:1830: VM_BUG_ON_PAGE(page_mapped(page))",
    ]
    assert report["tests"][0]["misc"]["came_of_it"] == ["WARNING in do_exit (2 times)"]


def test_json_follows_our_schema(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema = json.loads((PROJECT / "results" / "result.schema.json").read_text())
    assert main(["export", "json", str(folder)]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, schema)
    assert len(document["trials"]) == 7


def test_mail_says_in_order_what_is_asked_of_a_report() -> None:
    trial = samples.trial("FAIL", kernel="v5.10-anon-race")
    seen = {"first_seen": "2026-01-02T", "trials": 7, "kernels": "v5.10-anon-race,x"}
    message = email.message_from_string(
        mail(trial, source="int main(void)\n{\n}\n", config=Path("config-x"), seen=seen),
        policy=email.policy.default,
    )
    assert message["Subject"] == "[BUG] hugetlb: KASAN: use-after-free Read in rmap_walk_anon"
    body = message.get_content()
    order = (
        "first seen on 2026-01-02",
        "linux-source-5.10 5.10.218-1",
        "gcc (Debian",
        "BUG: KASAN: use-after-free in rmap_walk_anon",
        "Call Trace:\n rmap_walk_anon+0x10/0x60 mm/rmap.c:1830\n",
        " migrate_pages+0x10/0x60 mm/migrate.c:1450",
        "Allocated by task 100:\n anon_vma_fork+0x10/0x60 mm/rmap.c:345",
        "Freed by task 102:\n unlink_anon_vmas+0x10/0x60 mm/rmap.c:405",
        "int main(void)",
        "harness run anon_fork_migrate",
        "config-x",
        "get_maintainer.pl -f mm/rmap.c mm/migrate.c",
        "Reported-by:",
    )
    assert [body.index(word) for word in order] == sorted(body.index(word) for word in order)
    assert "dump_stack" not in body
    assert "stale" not in body
    assert all(len(line) <= 100 for line in body.splitlines())


def test_a_mail_is_about_one_report_and_names_the_others() -> None:
    text = mail(samples.cascade(), seen=None)
    order = (
        "assertion: VM_BUG_ON_PAGE(page_mapped(page))",
        "unlink_anon_vmas+0x10/0x60 mm/rmap.c:405",
        "It ends with: Kernel panic: fatal exception",
        "perhaps what came of it:\n  WARNING in do_exit (2 times)\n",
        "Other reports of the trial:\n  KASAN: use-after-free Write in other\n",
        "The reproducer",
    )
    assert [text.index(word) for word in order] == sorted(text.index(word) for word in order)


def test_a_hostile_mail_keeps_its_headers() -> None:
    trial = hostile_trial()
    trial["splats"][0]["title"] = "x\nBcc: everybody@example.com\n\nbody"
    message = email.message_from_string(mail(trial, seen=None), policy=email.policy.default)
    assert sorted(message.keys()) == sorted(
        ["Subject", "Date", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"]
    )
    assert "\x1b" not in message.get_content()


def test_a_mail_needs_a_splat() -> None:
    with pytest.raises(UsageError, match="without a kernel report"):
        mail(samples.trial("PASS"), seen=None)


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_git_send_email_takes_it(folder: Path, tmp_path: Path) -> None:
    assert main(["export", "mail", str(folder), "-t", "2", "-o", str(tmp_path / "bug.eml")]) == 0
    env = dict(os.environ, GIT_CONFIG_GLOBAL=os.devnull, HOME=str(tmp_path))
    for who in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{who}_NAME": "a", f"GIT_{who}_EMAIL": "a@example.com"}
    sender = ["--from=a@example.com", "--to=b@example.com", "--suppress-cc=all", "--quiet"]
    argv = ["git", "send-email", "--dry-run", *sender, "--confirm=never", str(tmp_path / "bug.eml")]
    done = subprocess.run(argv, capture_output=True, text=True, env=env, cwd=tmp_path)
    if "is not a git command" in done.stderr or "CPAN" in done.stderr:
        pytest.skip("no git send-email on this host")
    assert done.returncode == 0, done.stderr


def test_commands(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, word in (("ktap", "KTAP version 1"), ("junit", "<testsuites"), ("kcidb", '"major"')):
        assert main(["export", name, str(folder)]) == 0
        assert word in capsys.readouterr().out
    assert main(["export", "mail", str(folder)]) == 0
    assert "anon_fork_migrate.c" in capsys.readouterr().out
    assert main(["export", "mail", str(folder), "-t", "99"]) == 2
    assert "001-anon" in capsys.readouterr().err
    assert main(["export", "mail", str(folder), "-t", "1"]) == 2
    assert main(["export", "ktap", "nowhere"]) == 2
