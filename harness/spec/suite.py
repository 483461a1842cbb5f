"""Other people's test suites as declared in ``testcases/suites/*.yaml``: which tests, and how."""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import SpecError, UsageError
from harness.spec.case import AtLeast, Detector, Mount, Needs, Source, TestCase
from harness.spec.cases import TESTCASES
from harness.spec.payload import PASSED, Dialect, Payload
from harness.spec.reader import View, declared, load, names_in

SUITES = TESTCASES / "suites"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SKIPPED = {".git", "doc", "m4", "metadata"}


@dataclass(frozen=True)
class Test:
    """One test of a suite.

    ``command`` is a line for the guest's shell, in words, which runs ``program``: its first word,
    unless that is a tool of the guest's.  ``moves`` is the least growth of pgmigrate_success that
    shows that it migrated at all.
    """

    __test__ = False

    name: str
    command: tuple[str, ...]
    program: str
    files: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    scenarios: tuple[str, ...] = ()
    seconds: int = 0
    runtime: int = 0
    moves: int = 0
    keeps: str = ""
    debian: bool = False
    machine: str = ""
    needs: Needs = field(default_factory=Needs)


@dataclass(frozen=True)
class Suite:
    """``own`` tells that its programs come out of the kernel's own source tree: ``sources`` is the
    folder there, by the kernels' versions.
    """

    name: str
    file: Path
    about: str
    dialect: Dialect
    tests: tuple[Test, ...]
    seconds: int
    machine: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    detectors: tuple[Detector, ...] = ()
    own: bool = False

    @property
    def programs(self) -> tuple[str, ...]:
        """All files that its tests name."""
        names = (name for test in self.tests for name in (test.program, *test.files))
        return tuple(dict.fromkeys(names))


def suite_names() -> list[str]:
    return list(names_in(SUITES))


def load_suite(name: str, folder: Path = SUITES) -> Suite:
    """The suite ``name``, or the YAML file ``name``.  Raises SpecError."""
    view = load(declared(folder, name, "suite"))
    dialect = _dialect(view)
    seconds = view.integer("seconds", 60, least=1)
    files = view.texts("files")
    tests = tuple(_test(name, item, seconds, files) for name, item in _entries(view))
    if not tests:
        view.fail("tests", "at least one test", "none")
    suite = Suite(
        name=view.file.stem,
        file=view.file,
        about=view.text("about", ""),
        dialect=dialect,
        tests=tests,
        seconds=seconds,
        machine=view.text("machine", ""),
        environment=_settings(view),
        detectors=tuple(_detector(view, text) for text in view.texts("detectors")),
        own=view.text("programs", "given") == "kernel",
    )
    if view.text("programs", "given") not in ("given", "kernel"):
        view.fail("programs", "given or kernel", repr(view.text("programs")))
    view.done()
    return suite


def _dialect(view: View) -> Dialect:
    text = view.text("dialect")
    known = {dialect.value: dialect for dialect in Dialect}
    if text not in known:
        view.fail("dialect", "one of " + ", ".join(known), repr(text))
    return known[text]


def _detector(view: View, text: str) -> Detector:
    if text not in Detector.__members__:
        view.fail("detectors", "of " + ", ".join(Detector.__members__), repr(text))
    return Detector[text]


def _settings(view: View) -> tuple[tuple[str, str], ...]:
    return tuple((name, inner.text(name)) for name, inner in view.pairs("environment"))


def _entries(view: View) -> Iterable[tuple[str, View]]:
    """Tests by name; each is a mapping, or ``name:`` alone for one that needs no word more."""
    for item in view.views("tests"):
        name = item.text("name")
        if not _NAME.fullmatch(name):
            item.fail("name", "letters, digits, dots, dashes and underscores", repr(name))
        yield name, item


def _test(name: str, view: View, seconds: int, files: tuple[str, ...]) -> Test:
    try:
        command = shlex.split(view.text("run", name))
    except ValueError as error:
        view.fail("run", "a command line", str(error))
    if not command:
        view.fail("run", "a program and its arguments", "nothing")
    program = view.text("program", command[0])
    try:
        needs = Needs(
            nodes=view.integer("nodes", 1, least=1),
            cpus=view.integer("cpus", 1, least=1),
            free_2m=view.integer("free_2m", 0),
            memory=view.size("memory") if view.has("memory") else 0,
            options=view.texts("options"),
            mounts=(Mount.HUGETLBFS, *(_mount(view, text) for text in view.texts("mounts"))),
            since=view.text("since", ""),
            before=view.text("before", ""),
            why=view.text("why", ""),
        )
    except SpecError as error:
        raise SpecError(f"{view.file}: test {name}: {error.what}") from None
    test = Test(
        name=name,
        command=(f"./{command[0]}", *command[1:]) if program == command[0] else tuple(command),
        program=program,
        files=(*files, *view.texts("files")),
        environment=_settings(view),
        scenarios=view.texts("scenarios"),
        seconds=view.integer("seconds", seconds, least=1),
        runtime=view.integer("runtime", 0),
        moves=view.integer("moves", 0),
        keeps=view.text("keeps", ""),
        debian=view.text("root", "") == "debian",
        machine=view.text("machine", ""),
        needs=needs,
    )
    if view.text("root", "debian") != "debian":
        view.fail("root", "debian, or nothing", repr(view.text("root")))
    view.done()
    return test


def _mount(view: View, text: str) -> Mount:
    if text not in Mount.__members__:
        view.fail("mounts", "of " + ", ".join(Mount.__members__), repr(text))
    return Mount[text]


def programs_in(tree: Path, names: Iterable[str]) -> dict[str, Path]:
    """Files called ``names`` anywhere in ``tree``: built beside its source, or installed.

    A program wins over a file that cannot be run, and of two the one less deep.  Raises UsageError.
    """
    wanted = set(names)
    found: dict[str, tuple[bool, int, Path]] = {}
    if not tree.is_dir():
        raise UsageError(f"{tree}: no such folder", hint="--from names a built tree of the suite")
    for folder, folders, files in os.walk(tree):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in wanted.intersection(files):
            path = Path(folder, name)
            rank = (not os.access(path, os.X_OK), len(path.parts), path)
            if name not in found or rank < found[name]:
                found[name] = rank
    return {name: path for name, (_, _, path) in found.items()}


def cases_of(
    suite: Suite, programs: Mapping[str, Path], names: Iterable[str] = (), tree: str = ""
) -> list[TestCase]:
    """The tests as test cases, those called ``names`` where there are any.

    Tests whose program was not built are left out: a tree may have only a part.  Raises UsageError
    for a name that there is not, and where there is no program at all.
    """
    known = {test.name: test for test in suite.tests}
    wanted = list(names)
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else "there are: " + ", ".join(known)
            raise UsageError(f"no test {name!r} in {suite.file}", hint=hint)
    tests = [known[name] for name in wanted] or list(suite.tests)
    lacking = {test.name: _lacking(test, programs) for test in tests}
    for name in wanted:
        if lacking[name]:
            raise UsageError(f"{name}: {tree or 'the tree'} has no {', '.join(lacking[name])}")
    cases = [_case(suite, test, programs, tree) for test in tests if not lacking[test.name]]
    if not cases:
        raise UsageError(
            f"{tree or 'the tree'}: none of the programs of {suite.name} is in it",
            hint="is it built? they are looked for by name: " + ", ".join(suite.programs[:5]),
        )
    return cases


def _lacking(test: Test, programs: Mapping[str, Path]) -> list[str]:
    return [name for name in (test.program, *test.files) if name not in programs]


def _case(suite: Suite, test: Test, programs: Mapping[str, Path], tree: str) -> TestCase:
    moves = (AtLeast("pgmigrate_success", test.moves, Source.VMSTAT),) if test.moves else ()
    return TestCase(
        name=f"{suite.name}.{test.name}",
        reproducer=programs[test.program],
        scenarios=test.scenarios,
        seconds=test.seconds,
        quick=test.seconds,
        args=test.command[1:],
        needs=test.needs,
        exercised=(AtLeast(PASSED, 1), *moves),
        detectors=suite.detectors,
        machine=test.machine or suite.machine,
        payload=Payload(
            suite=suite.name,
            dialect=suite.dialect,
            command=test.command,
            files=tuple((name, programs[name]) for name in test.files),
            environment=(*suite.environment, *test.environment),
            runtime=test.runtime,
            debian=test.debian,
            keeps=test.keeps,
            tree=tree,
        ),
    )
