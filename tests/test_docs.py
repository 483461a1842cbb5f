"""Every command in the documentation is understood, and those that need no guest are run."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness.cli import VERBS, main, parser
from harness.commands.manual import subverbs
from harness.paths import PROJECT
from harness.record.history.ingest import import_folders
from harness.record.history.store import History
from tests import record_samples as samples
from tests import test_page

PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
RUN = ("kernels", "run", "reproduce", "history", "report", "export")
"""Verbs that are run as well; the others want a guest or the reader's files, and are parsed."""

FILES = {
    "repro.c": "int main(void) { return 0; }\n",
    "mine.yaml": "extends: v5.10-debug\n",
}


def commands() -> list[list[str]]:
    found = {}
    for page in PAGES:
        for line in page.read_text().splitlines():
            if match := re.match(r"\s{4,}(harness [^;|&]*)", line):
                words = shlex.split(match[1], comments=True)
                found[tuple(words[1:])] = words[1:]
    return list(found.values())


def test_there_are_commands_to_look_at() -> None:
    assert len(commands()) > 25


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_of_the_documentation(
    words: list[str],
    tmp_path: Path,
    own_history: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    at = words.index("--") if "--" in words else len(words)
    parser().parse_args(words[:at])
    if words[0] not in RUN:
        return
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text)
    splat = (PROJECT / "tests/consoles/v5.10-anon-race-1.log").read_text(errors="replace")
    Path("mail.txt").write_text(splat)
    for number, name in enumerate(("OLD", "LAST", "NEW", "THIS"), 1):
        trials = [samples.trial("FAIL", 1), samples.trial("PASS", 2)]
        started = f"2026-03-0{number}T06:00:00+00:00"
        samples.write_run(tmp_path / "results", samples.run(trials, name, started=started))
    night = tmp_path / "results" / "nightly" / "plan"
    night.mkdir(parents=True)
    (night / "2026-01-03.json").write_text(json.dumps(test_page.night()))
    Path("score.json").write_text(json.dumps(test_page.score()))
    commits = [["base", "good", "a"], ["1/1", "bad", "b"]]
    start = {"event": "start", "format": 1, "case": "a", "kernel": "k", "commits": commits}
    (tmp_path / "results" / "THIS" / "bisect.jsonl").write_text(json.dumps(start) + "\n")
    for module in ("report", "export", "trials"):
        monkeypatch.setattr(f"harness.commands.{module}.RESULTS", tmp_path / "results")
    with History(own_history) as history:
        import_folders(history, [tmp_path / "results"])
    if words[0] in ("run", "reproduce"):
        words = [*words[:at], *(["--dry-run"] * ("--dry-run" not in words)), *words[at:]]
    assert main(words) == 0, capsys.readouterr().err


def others() -> list[str]:
    """Lines of the documentation that a shell is given and that do not begin with harness."""
    found: dict[str, None] = {}
    for page in PAGES:
        fence = ""
        for line in page.read_text().splitlines():
            if line.startswith("```"):
                fence = "" if fence else line[3:] or "text"
            elif (fence == "sh" or (not fence and line.startswith("    "))) and (
                "harness " not in line[:12]
            ):
                found[line.strip().partition("  #")[0].partition(" # ")[0].strip()] = None
    # What else is indented is the output of a command, or Python.
    return [line for line in found if line.split(" ")[0] in PROGRAMS or "harness " in line]


PROGRAMS = ("make", "python", "pytest", "git", "pip", "dask")


def test_other_commands_are_looked_at() -> None:
    assert len(others()) > 15


@pytest.mark.parametrize("line", others())
def test_a_command_of_another_program(line: str, tmp_path: Path) -> None:
    """Each is run as far as that says something."""
    words = line.split()
    if words[0] == "make":
        done = subprocess.run(["make", "-n", *words[1:]], cwd=PROJECT, capture_output=True)
        assert done.returncode == 0, done.stderr
    elif words[0] == "python":
        text = (PROJECT / words[1]).read_text()
        for option in re.findall(r"--[a-z-]+", line):
            assert f'"{option}"' in text, option
    elif words[0] == "pytest":
        argv = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
        told = line if importlib.util.find_spec("xdist") else re.sub(r" -n \d+", "", line)
        argv += [word.replace("=report", f"={tmp_path}/report") for word in told.split()[1:]]
        done = subprocess.run(argv, cwd=PROJECT, capture_output=True)
        assert done.returncode == 0, done.stdout
    elif words[:3] == ["git", "bisect", "run"] or "harness nightly" in line:
        inner = re.search(r"(?<!-)\bharness (.*?)( 2>&1|$)", line)
        assert inner is None or parser().parse_args(inner[1].split())
    elif words[:2] == ["pip", "install"]:
        project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
        extra = re.search(r"\[(.*)\]", line)
        assert extra is None or extra[1] in project["optional-dependencies"]
    elif words[0] == "dask":
        argv = [str(Path(sys.executable).with_name("dask")), words[1], "--help"]
        told = subprocess.run(argv, capture_output=True, text=True).stdout
        for option in re.findall(r"--(?:no-)?([a-z-]+)", line):
            assert f"--{option}" in told, option
    elif not any(line in script for script in scripts()):  # which are read as a whole
        assert subprocess.run(["sh", "-n"], input=line, text=True).returncode == 0


def scripts() -> list[str]:
    return [
        script
        for page in PAGES
        for script in re.findall(r"(?ms)^```sh\n(.*?)^```", page.read_text())
    ]


def test_scripts_are_read_by_a_shell() -> None:
    for script in scripts():
        assert subprocess.run(["sh", "-n"], input=script, text=True).returncode == 0


def inline() -> list[str]:
    """Commands of the harness within a sentence, each of a choice by itself."""
    found: dict[str, None] = {}
    for page in PAGES:
        text = re.sub(r"(?ms)^```.*?^```", "", page.read_text())
        for span in re.findall(r"`((?:\.venv/bin/)?harness [^`]+)`", text):
            line = " ".join(span.split()).partition(" | ")[0].partition(" ...")[0]
            head, _, choice = line.rpartition(" ")
            for word in choice.split("|"):
                found[f"{head} {word}"] = None
    return list(found)


@pytest.mark.parametrize("line", inline())
def test_a_command_within_a_sentence(line: str) -> None:
    """It may be cut short: what is there has to be understood."""
    words = shlex.split(line.partition(";")[0])[1:]
    try:
        parser().parse_args(words)
    except SystemExit as ended:
        if ended.code:
            parser().parse_args([*words, *VERBS_WITH_WORDS[words[0]]])


VERBS_WITH_WORDS = {
    **{
        "nightly": ["plan.yaml"],
        "bisect": ["log"],
        "verify": ["--patch=x", "--case=x"],
        "rate": ["x"],
    },
    **{"reproduce": ["x.c"], "trial": ["x"], "build": ["x"], "export": ["json"]},
    **{"completion": ["bash"], "splats": ["x"]},
}
"""What may follow a verb that is named for what it does."""


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), (page.name, link)


def verbs() -> list[list[str]]:
    top = [[name] for name in re.findall(r"(?m)^    (\w+) ", parser().format_help())]
    return [[], *top, *(["history", name] for name in ("rates", "import", "salvage"))]


@pytest.mark.parametrize("words", verbs(), ids=" ".join)
def test_every_help_can_be_printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    assert "usage: harness" in capsys.readouterr().out


def test_the_manual_names_every_verb(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["man"]) == 0
    text = capsys.readouterr().out
    assert len(verbs()) > len(VERBS)
    for words in verbs()[1:]:
        assert words[-1] in text
    if not shutil.which("man"):
        return
    file = tmp_path / "harness.1"
    file.write_text(text)
    shown = subprocess.run(["man", "-l", str(file)], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0
    assert "warning" not in shown.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_is_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert "signatures" in text
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=text, text=True).returncode == 0


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["re"], ["report", "reproduce"]),
        (["history", "sig"], ["signature", "signatures"]),
        (["export", "k"], ["kcidb", "ktap"]),
        (["report", "--comp"], ["--compare"]),
        (["run", "--accel", ""], ["auto", "kvm", "tcg"]),
    ],
)
def test_bash_completes(
    typed: list[str], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "bash"]) == 0
    words = shlex.join(["harness", *typed])
    script = f"""{capsys.readouterr().out}
COMP_WORDS=({words}); COMP_CWORD={len(typed)}; COMP_LINE={shlex.quote(words)}
function=$(complete -p harness); function=${{function#*-F }}; ${{function%% *}}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash"], input=script, capture_output=True, text=True)
    assert sorted(done.stdout.split()) == expected, done.stderr


def test_the_example_of_the_documentation_compiles(tmp_path: Path) -> None:
    from harness.trial.compile import compile_reproducer

    text = (PROJECT / "README.md").read_text()
    source = re.search(r"```c\n(.*?)```", text, re.DOTALL)
    assert source
    file = tmp_path / "move_there_and_back.c"
    file.write_text(source[1])
    assert compile_reproducer(file, cache=tmp_path).is_file()
    declared = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert declared
    (tmp_path / "test_move_there_and_back.py").write_text(declared[1])
    from harness.spec.cases import load_cases

    (case,) = load_cases(tmp_path)
    assert case.name == "move_there_and_back"


def test_a_verb_is_listed_as_its_own_parser_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert parser("").format_help() == parser().format_help()
    for helps in VERBS.values():
        for verb in helps:
            with pytest.raises(SystemExit):
                main([verb, "--help"])
            assert capsys.readouterr().out.startswith(f"usage: harness {verb}")


def test_a_verb_imports_no_other() -> None:
    say = "import sys; print(*(m for m in sys.modules if m.startswith('harness.')))"
    for words, want in (
        (["--help"], set()),
        (["splats", "--help"], {"harness.commands.splats"}),
    ):
        code = f"from harness import cli\ntry: cli.main({words})\nexcept SystemExit: pass\n{say}"
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        loaded = {name for name in ran.stdout.splitlines()[-1].split() if ".commands." in name}
        assert loaded == want
        assert "harness.kernel.build" not in ran.stdout


def examples() -> list[tuple[str, str]]:
    """The commands at the end of every verb's help."""
    found = []
    for verb, its in subverbs(parser()).items():
        lines = re.findall(
            r"(?m)^ *(?:examples?: |git bisect run )?(harness [^:|>]*)", its.epilog or ""
        )
        found += [(verb, re.split(r"\s{2,}", line.strip())[0]) for line in lines]
    return found


def test_every_verb_teaches_by_an_example() -> None:
    assert {verb for verb, _ in examples()} >= set(subverbs(parser())) - {"completion"}


@pytest.mark.parametrize(("verb", "line"), examples())
def test_an_example_of_a_help_is_understood(verb: str, line: str) -> None:
    words = shlex.split(line)[1:]
    parser().parse_args(words[: words.index("--")] if "--" in words else words)


BENCHMARKS = sorted(
    file for file in (PROJECT / "benchmarks").glob("*.py") if "__main__" in file.read_text()
)


@pytest.mark.parametrize("file", BENCHMARKS, ids=lambda file: file.stem)
def test_a_benchmark_starts_from_anywhere(file: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(file), "--help"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:")
