"""A run's folder: written trial by trial, each file whole or not at all."""

from __future__ import annotations

import atexit
import contextlib
import datetime
import fcntl
import functools
import importlib.metadata
import json
import os
import platform
import re
import secrets
import shlex
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from harness.errors import EnvironmentFault, UsageError
from harness.guest.qemu import pasteable
from harness.kernel.built import BuiltKernel
from harness.paths import PROJECT
from harness.record.document import Json, run_document, trial_document
from harness.record.history.keep import Keeper
from harness.record.load import Run
from harness.record.sources import excerpts, places
from harness.record.spool import Spool
from harness.splat.report import Splat
from harness.trial.compile import identity
from harness.trial.trial import TrialResult

RESULTS = PROJECT / "results"
_EACH = 50
"""Trials until which result.json is written with each; then with each fiftieth part more."""


def check_place(base: Path) -> None:
    """Raise EnvironmentFault where no run can be kept in ``base``; nothing is made there yet."""
    there = next(path for path in (base, *base.absolute().parents) if os.path.lexists(path))
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        why = "cannot be written" if there.is_dir() else "is no folder"
        raise EnvironmentFault(
            f"{base}: no run can be kept there: {there} {why}",
            hint="give another folder with --results",
        )


class RunFolder:
    """``results/<run>/``: one folder a trial, and ``result.json`` that grows with each."""

    def __init__(self, command: Sequence[str], base: Path = RESULTS) -> None:
        self._started = time.time()
        self._command = tuple(command)
        self._begun = 0
        stamp = datetime.datetime.fromtimestamp(self._started).strftime("%Y%m%d-%H%M%S")
        self.name = f"{stamp}-{secrets.token_hex(2)}"
        self.path = base / self.name
        try:
            self.path.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise EnvironmentFault(
                f"{self.path}: cannot be made: {error.strerror}",
                hint="give another folder with --results",
            ) from None
        self._lock = _locked(self.path)
        self._take_up(())

    @classmethod
    def reopen(cls, run: Run) -> RunFolder:
        """Go on with a run whose harness is gone.  Raises UsageError while it is not.

        What belongs to a trial that was under way stays in its folder; it gets a new one.
        """
        folder = cls.__new__(cls)
        folder.name, folder.path = run.name, run.folder
        folder._lock = _locked(run.folder)
        folder._started = datetime.datetime.fromisoformat(run.started).timestamp()
        folder._command = tuple(run.command)
        numbers = [path.name.partition("-")[0] for path in run.folder.iterdir() if path.is_dir()]
        folder._begun = max((int(n) for n in numbers if n.isdecimal()), default=0)
        for pattern in (".*.[0-9]*", ".memory.kdump.*"):  # what there was no time to rename
            for left in run.folder.rglob(pattern):
                left.unlink(missing_ok=True)
        folder._take_up(run.trials)
        return folder

    def _take_up(self, trials: Sequence[Json]) -> None:
        try:
            self._spool = Spool(self.path, (encoded(trial).rstrip() for trial in trials))
        except OSError as error:
            raise EnvironmentFault(f"{self.path}: cannot be written: {error.strerror}") from None
        self._save()
        atexit.register(self._close_at_exit)
        started = run_document("", self._started, (), {}, ())["started"]
        run = Run(self.name, started, self._command, _host(), self.path.absolute())
        self._history = Keeper(run)

    def trial_folder(self, title: str) -> Path:
        """The folder of the next trial, which no other one gets; ``title`` is made harmless."""
        safe = re.sub(r"[^A-Za-z0-9._-]+", "-", title).strip(".-")[:80]
        self._begun += 1
        return self.path / f"{self._begun:03}-{safe}"

    def add(self, result: TrialResult, repeat: Sequence[str]) -> None:
        """Keep a finished trial: splats, streams, the QEMU line, and its part of result.json."""
        folder = result.folder
        seen = result.evidence
        for kind, splats in (("splat", seen.splats), ("boot-splat", seen.boot_splats)):
            for number, splat in enumerate(splats[:20], 1):
                write(folder / f"{kind}-{number:02}.txt", splat_text(splat).encode())
        if seen.out or seen.err:
            write(folder / "reproducer.out", seen.out)
            write(folder / "reproducer.err", seen.err)
        if seen.postmortem:
            write(folder / "postmortem.txt", seen.postmortem.encode())
        if result.command:
            write(
                folder / "qemu.sh",
                ("#!/bin/sh\n" + _shell(pasteable(result.command)) + "\n").encode(),
            )
        kernel = result.trial.kernel
        self._keep_config(kernel)
        first = (*seen.splats, *seen.boot_splats)[:1]
        sources = excerpts(places(first[0]), kernel) if first else []
        made = identity(result.trial.case, result.trial.binary)
        document = trial_document(result, folder.name, repeat, sources, made)
        try:
            self._spool.add(encoded(document).rstrip())
        except OSError as error:
            raise EnvironmentFault(f"{self.path}: cannot be written: {error.strerror}") from None
        # A file that holds hundreds is not written anew for each; load.py knows the spool too.
        if self._spool.count <= _EACH or self._spool.count - self._saved >= self._saved / _EACH:
            self._save()
        self._history.add(document)

    def close(self) -> None:
        """Bring result.json up to date, where it is not.  Idempotent; at the harness's end, too."""
        atexit.unregister(self._close_at_exit)
        if self._saved < self._spool.count:
            self._save()
        self._spool.remove()

    def _close_at_exit(self) -> None:
        with contextlib.suppress(EnvironmentFault):  # what stands in the spool stays there
            self.close()

    def _keep_config(self, kernel: BuiltKernel | None) -> None:
        """The final config, once a kernel: its content id alone does not outlive the cache."""
        if kernel is None:
            return
        copy = self.path / f"config-{kernel.name}"
        if not copy.exists() and kernel.config.is_file():
            write(copy, kernel.config.read_bytes())

    def _save(self) -> None:
        head = encoded(run_document(self.name, self._started, self._command, _host(), []))
        before, empty, behind = head.rpartition(b"[]")
        assert empty
        with written(self.path / "result.json") as file:
            file.write(before + b"[")
            self._spool.copy(file)
            file.write(b"]" + behind)
        self._saved = self._spool.count


def _locked(folder: Path) -> int:
    """Held until this process ends, however it does.  Raises UsageError where another has it."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(number)
        raise UsageError(f"{folder}: a harness is still at work on this run") from None
    except OSError:
        pass  # a file system without locks
    return number


_ROW = re.compile(r"\[\n\s+([-0-9.e, \n]+?)\n\s*\]")


def encoded(document: Json) -> bytes:
    """JSON for people too: indented, but with each row of numbers on one line."""
    text = json.dumps(document, indent=1)
    # No string holds a newline in JSON, so that none is touched.
    return _ROW.sub(lambda row: f"[{' '.join(row[1].split())}]", text).encode() + b"\n"


def write(path: Path, content: bytes) -> None:
    """Write ``path`` whole."""
    with written(path) as file:
        file.write(content)


@contextlib.contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """Write ``path`` whole: another file beside it, then a rename."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            scratch.unlink()
        raise EnvironmentFault(f"{path}: cannot be written: {error.strerror}") from None


def splat_text(splat: Splat) -> str:
    """A splat for a person: title, place, each stack with its lines, then the text as printed."""
    lines = [splat.title]
    for stack in splat.stacks:
        lines.append(f"\n{stack.name}:")
        for frame in stack.frames:
            if frame.sure:
                lines.append(f"  {frame.function:<40} {frame.place}".rstrip())
    return "\n".join([*lines, "", "As printed:", splat.text, ""])


def _shell(command: Sequence[str]) -> str:
    """One flag and its value a line."""
    text = shlex.quote(command[0])
    for word in command[1:]:
        text += (" \\\n  " if word.startswith("-") else " ") + shlex.quote(word)
    return text


@functools.cache
def _host() -> dict[str, str]:
    """What a verdict may depend on beside the kernel: this host and its tools."""
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cpus": str(os.cpu_count()),
        "harness": importlib.metadata.version("hugetlb-harness"),
        "commit": _said(["git", "-C", str(PROJECT), "describe", "--always", "--dirty"]),
        "qemu": _said(["qemu-system-x86_64", "--version"]),
        "gcc": _said(["gcc", "--version"]),
    }


def _said(argv: Sequence[str]) -> str:
    """The first line that a tool says of itself; empty where it cannot be asked."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.partition("\n")[0]
