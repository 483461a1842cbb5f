"""Trials on a real scheduler with real worker processes, one of which is killed on the way."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.campaign.cluster import ClusterEngine
from harness.commands.options import engine_for
from harness.errors import EnvironmentFault, UsageError
from harness.guest.seam import wait_for
from harness.kernel.built import BuiltKernel
from harness.paths import PROJECT
from harness.progress import Progress
from harness.spec.cases import select
from harness.spec.machine import load_machine
from harness.trial.trial import Trial
from harness.trial.verdict import Outcome
from tests import fake_worker

distributed = pytest.importorskip("distributed")

CASE = select(["anon_fork_migrate"])[0]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trial:
    monkeypatch.setenv("HUGETLB_HARNESS_CACHE", str(tmp_path / "cache"))
    for name, text in (("bzImage", "an image"), ("config", "CONFIG_KASAN=y\n"), ("repro", "elf")):
        (tmp_path / name).write_text(text)
    kernel = BuiltKernel("k", "0", "5.10", tmp_path / "bzImage", tmp_path / "config")
    return Trial(CASE, tmp_path / "repro", 1, kernel, load_machine("two-nodes"))


def test_worker_that_is_killed_loses_no_trial(job: Trial, tmp_path: Path) -> None:
    """Also that contents travel, and that what a trial leaves comes home."""
    begun = tmp_path / "begun"
    trial = replace(job, append=(str(begun),))
    with ClusterEngine("local:2", Progress(), fake_worker.first_hangs) as engine:
        assert engine.width == 2
        folders = [tmp_path / "run" / f"{number:03}-x" for number in range(1, 6)]
        futures = [engine.submit(trial, folder) for folder in folders]
        assert wait_for(lambda: begun.exists() and begun.read_text() != "", timeout=120)
        victim = int(begun.read_text())
        os.kill(victim, signal.SIGKILL)
        results = [future.result(180) for future in futures]
    assert [result.verdict.outcome for result in results] == [Outcome.PASS] * 5
    for result, folder in zip(results, folders, strict=True):
        assert result.folder == folder
        assert result.trial == trial
        assert result.evidence.out == b"y"
        assert (folder / "console.log").read_bytes() == b"an image"
        assert (folder / "reproducer.out").read_bytes() == b"elf"
        assert int((folder / "pid").read_text()) != os.getpid()
    assert int((folders[0] / "pid").read_text()) != victim


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("tcp://no-such-host.invalid:8786", "not known|resolution"),
        ("tcp://127.0.0.1", "expected HOST:PORT"),
        ("tcp://127.0.0.1:many", "Port could not be cast"),
    ],
)
def test_scheduler_that_is_not_there_is_told_at_once(
    where: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "Client", lambda *_, **__: pytest.fail("waited for it"))
    with pytest.raises(EnvironmentFault, match=f"no scheduler answers: .*({told})"):
        ClusterEngine(where, Progress())


def test_one_who_listens_and_is_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.campaign.cluster._CONNECT", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(EnvironmentFault, match="no scheduler answers"):
            ClusterEngine(where, Progress())


def test_workers_that_come_and_go_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.campaign.cluster._LOOK", 0.0)
    cluster = distributed.LocalCluster(
        **{"n_workers": 1, "threads_per_worker": 1, "processes": True, "host": "127.0.0.1"},
        **{"dashboard_address": None, "resources": {"guest": 1}},
    )
    with cluster, ClusterEngine(cluster.scheduler_address, Progress()) as engine:
        assert engine.width == 1
        cluster.scale(3)
        assert wait_for(lambda: engine.width == 3, timeout=120)
        cluster.scale(0)
        assert wait_for(lambda: engine._rooms() == (0, 0), timeout=60)
        assert engine.width == 1  # the next trial waits for a worker


def test_workers_that_take_no_guests() -> None:
    cluster = distributed.LocalCluster(
        n_workers=0, processes=True, host="127.0.0.1", dashboard_address=None
    )
    with cluster, pytest.raises(EnvironmentFault, match="none of its 0 workers takes guests"):
        ClusterEngine(cluster.scheduler_address, Progress())


@contextmanager
def started(argv: list[str], folder: Path) -> Iterator[None]:
    with subprocess.Popen(
        argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.terminate()


def connected(where: str) -> ClusterEngine | None:
    try:
        return ClusterEngine(where, Progress())
    except EnvironmentFault:
        return None  # the worker is not there yet


def test_scheduler_and_worker_as_the_page_starts_them(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    page = (PROJECT / "docs" / "cluster.md").read_text().replace("8786", port)
    scheduler, worker = [
        [sys.executable, "-m", *shlex.split(line)]
        for line in page.splitlines()
        if line.startswith("    dask ")
    ]
    engines: list[ClusterEngine] = []
    with started(scheduler, tmp_path), started(worker, tmp_path):

        def answered() -> bool:
            engines.extend(filter(None, [connected(f"tcp://127.0.0.1:{port}")]))
            return bool(engines)

        assert wait_for(answered, timeout=120)
        with engines[0] as engine:
            assert engine.width == 2


@pytest.mark.parametrize("where", ["local:0", "local:many", "here", "http://x:1"])
def test_place_that_is_none(where: str) -> None:
    with pytest.raises(UsageError, match="expected local:N"):
        engine_for(where, None, load_machine("two-nodes"), Progress())
