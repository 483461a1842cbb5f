"""Trials on other machines: an engine on Dask's scheduler.

A trial goes over the wire as a value, without files: kernel image, config and reproducer are sent
by content, once to each worker, and kept in the worker's cache; what a trial leaves in its folder
comes back with the result, and addresses are turned into lines here, where vmlinux is.  Each
worker builds its own initramfs, as every boot does.

A worker takes as many trials as it has of the resource "guest" (``dask worker --resources
guest=2``).  When one is lost, Dask runs its trials again elsewhere.  Workers on Slurm, Kubernetes
and others are started as Dask starts them.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import socket
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.errors import EnvironmentFault, UsageError
from harness.kernel.built import BuiltKernel
from harness.paths import cache_dir
from harness.progress import Progress
from harness.trial.judge import judge
from harness.trial.trial import Trial, TrialResult, perform, with_places
from harness.trial.verdict import Outcome

RESOURCE = "guest"
MOST_BACK = 64 << 20
"""Bytes of one file that come back: a console that a lost race filled is cut at its end."""

_CONNECT = 15.0
"""Seconds that a scheduler gets to answer."""

_LOOK = 5.0
"""Seconds between two looks at how many workers there are."""


class _Lacks(Exception):
    """A worker has not got some contents yet."""

    def __init__(self, worker: str, digests: tuple[str, ...]) -> None:
        super().__init__(worker, digests)
        self.worker, self.digests = worker, digests


@dataclass(frozen=True)
class Parcel:
    """A trial without its files: ``contents`` are digests by what they are."""

    trial: Trial
    contents: Mapping[str, str]
    folder: str


def digest_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def packed(trial: Trial, folder: Path) -> tuple[Parcel, dict[str, Path]]:
    """The parcel of ``trial``, and the files that it stands for, by digest."""
    kernel = trial.kernel
    assert kernel
    files = {"binary": trial.binary, "image": kernel.image, "config": kernel.config}
    for module in sorted(kernel.modules.iterdir()) if kernel.modules else ():
        files[f"modules/{module.name}"] = module
    contents = {name: digest_of(file) for name, file in files.items()}
    return Parcel(trial, contents, folder.name), {contents[n]: files[n] for n in files}


def _kept(digest: str) -> Path:
    return cache_dir() / "cluster" / digest


def keep(digest: str, content: bytes) -> None:
    """On a worker: take in one file, whole or not at all."""
    place = _kept(digest)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as scratch:
        scratch.write(content)
    Path(scratch.name).replace(place)


def unpacked(parcel: Parcel, room: Path, worker: str) -> Trial:
    """On a worker: the trial with files of its own.  Raises _Lacks."""
    lacking = tuple(d for d in parcel.contents.values() if not _kept(d).is_file())
    if lacking:
        raise _Lacks(worker, lacking)
    for name, digest in parcel.contents.items():
        place = room / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(_kept(digest))
    kernel = parcel.trial.kernel
    assert kernel
    there = replace(
        kernel,
        image=room / "image",
        config=room / "config",
        modules=room / "modules" if kernel.modules else None,
        vmlinux=None,
        log=None,
    )
    return replace(parcel.trial, kernel=there, binary=room / "binary")


def work(
    parcel: Parcel, run: Callable[[Trial, Path, Progress], TrialResult]
) -> tuple[TrialResult, dict[str, bytes]]:
    """On a worker: the result, and the files of the trial's folder."""
    from distributed import get_worker

    with tempfile.TemporaryDirectory(prefix="harness-trial-") as scratch:
        room, folder = Path(scratch) / "kernel", Path(scratch) / parcel.folder
        room.mkdir()
        trial = unpacked(parcel, room, get_worker().address)
        result = run(trial, folder, Progress())
        back = {
            str(file.relative_to(folder)): file.read_bytes()[-MOST_BACK:]
            for file in sorted(folder.rglob("*"))
            if file.is_file() and not file.is_symlink()
        }
        return result, back


def _knock(where: str) -> None:
    """Raise OSError at once where nobody listens: Dask tries again until its time is over."""
    address = urllib.parse.urlsplit(where)
    if address.hostname is None or address.port is None:
        raise ValueError("expected HOST:PORT")
    socket.create_connection((address.hostname, address.port), _CONNECT).close()


def _answering(connect: Callable[[], Any]) -> Any:
    """What ``connect`` gives.  Raises OSError where it takes too long: Dask waits without end for
    one who listens and says nothing.
    """
    made: Future[Any] = Future()

    def work() -> None:
        try:
            made.set_result(connect())
        except BaseException as error:
            made.set_exception(error)

    threading.Thread(target=work, name="connect", daemon=True).start()
    try:
        return made.result(_CONNECT + 1.0)
    except TimeoutError:
        raise OSError(f"who listens there says nothing within {_CONNECT:.0f} s") from None


class ClusterEngine:
    """``where`` is ``local:N``, or the address of a scheduler (tcp://host:port)."""

    def __init__(
        self,
        where: str,
        progress: Progress,
        run: Callable[[Trial, Path, Progress], TrialResult] = perform,
    ) -> None:
        self._run, self._progress = run, progress
        self._lock = threading.Lock()
        self._pending: dict[Future[TrialResult], Any] = {}
        self._cluster: Any = None
        self._client = self._connected(where)
        self._room, self._looked = self._first_room(where), time.monotonic()

    @property
    def width(self) -> int:
        """How many guests the workers take that are there now.  One where there is none: its
        trial waits for the next worker.
        """
        if time.monotonic() - self._looked >= _LOOK:
            self._looked = time.monotonic()
            was, self._room = self._room, self._rooms()[0]
            if self._room != was:
                self._progress.say(f"the workers take {self._room} guests now, {was} before")
        return max(1, self._room)

    def _connected(self, where: str) -> Any:
        try:
            dask: Any = importlib.import_module("distributed")
        except ImportError:
            raise EnvironmentFault(
                "Dask is not installed", hint="pip install 'hugetlb-harness[cluster]'"
            ) from None
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        kind, _, rest = where.partition(":")
        if kind == "local":
            if not rest.isdecimal() or not 1 <= int(rest) <= 64:
                raise UsageError(f"--cluster {where}: expected local:N, N from 1 to 64")
            self._cluster = dask.LocalCluster(
                n_workers=int(rest),
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address=None,
                resources={RESOURCE: 1},
            )
            return dask.Client(self._cluster)
        if kind not in ("tcp", "tls", "ucx"):
            raise UsageError(f"--cluster {where}: expected local:N or tcp://HOST:PORT")
        try:
            if kind != "ucx":
                _knock(where)
            return _answering(lambda: dask.Client(where, timeout=_CONNECT))
        except (OSError, ValueError) as error:
            raise EnvironmentFault(
                f"--cluster {where}: no scheduler answers:"
                f" {getattr(error, 'strerror', None) or error}",
                hint="dask scheduler; dask worker ADDRESS --nthreads 2 --resources guest=2",
            ) from None

    def _rooms(self) -> tuple[int, int]:
        """How many guests all workers take, and how many workers there are."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        room = sum(worker.get("resources", {}).get(RESOURCE, 0) for worker in workers)
        return int(room), len(workers)

    def _first_room(self, where: str) -> int:
        """Raises EnvironmentFault where no worker takes guests: they would be waited for."""
        room, workers = self._rooms()
        if not room:
            self._close()
            raise EnvironmentFault(
                f"--cluster {where}: none of its {workers} workers takes guests",
                hint=f"dask worker {where} --nthreads 2 --resources {RESOURCE}=2",
            )
        return room

    def submit(self, trial: Trial, folder: Path) -> Future[TrialResult]:
        future: Future[TrialResult] = Future()
        parcel, files = packed(trial, folder)
        self._send(future, parcel, files, folder)
        return future

    def _send(
        self, future: Future[TrialResult], parcel: Parcel, files: dict[str, Path], folder: Path
    ) -> None:
        task = self._client.submit(
            work, parcel, self._run, resources={RESOURCE: 1}, pure=False, retries=0
        )
        with self._lock:
            self._pending[future] = task
        task.add_done_callback(lambda done: self._take(future, done, parcel, files, folder))

    def _take(
        self,
        future: Future[TrialResult],
        done: Any,
        parcel: Parcel,
        files: dict[str, Path],
        folder: Path,
    ) -> None:
        """In a thread of Dask's: the result, or what the worker lacks for it."""
        try:
            result, back = done.result()
        except _Lacks as lacks:
            try:
                for digest in lacks.digests:
                    content = files[digest].read_bytes()
                    self._client.run(keep, digest, content, workers=[lacks.worker])
            except Exception as error:  # that worker is gone: another one is asked
                self._progress.say(f"{lacks.worker}: {error}")
            self._send(future, parcel, files, folder)
            return
        except BaseException as error:
            self._fail(future, error)
            return
        with self._lock:
            self._pending.pop(future, None)
        try:
            future.set_result(_home(result, back, parcel.trial, folder))
        except OSError as error:
            self._fail(future, EnvironmentFault(f"{folder}: {error.strerror}"))

    def _fail(self, future: Future[TrialResult], error: BaseException) -> None:
        with self._lock:
            self._pending.pop(future, None)
        if future.done():
            return
        if not isinstance(error, EnvironmentFault):
            error = EnvironmentFault(f"a worker failed: {type(error).__name__}: {error}")
        future.set_exception(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            pending = list(self._pending.values())
        self._client.cancel(pending)
        self._close()

    def _close(self) -> None:
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def _home(
    result: TrialResult, back: Mapping[str, bytes], trial: Trial, folder: Path
) -> TrialResult:
    """The result as if the trial had run here, its files in ``folder``."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in back.items():
        place = folder / name
        if not place.resolve().is_relative_to(folder.resolve()):
            continue  # a worker is not trusted with our files
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    kernel = trial.kernel
    assert isinstance(kernel, BuiltKernel)
    result = replace(result, trial=trial, folder=folder)
    seen = result.evidence
    if kernel.vmlinux is None or not (seen.splats or seen.boot_splats or seen.postmortem):
        return result
    evidence = with_places(result.evidence, kernel)
    failed = result.verdict.outcome is Outcome.FAIL
    verdict = judge(trial.case, evidence) if failed else result.verdict  # now with file:line
    return replace(result, evidence=evidence, verdict=verdict)
