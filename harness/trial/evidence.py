"""All that was seen in one trial: what the verdict is judged from, and what the record keeps."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.guest.seam import Life
from harness.spec.case import Detector, Source
from harness.splat.report import Splat
from harness.trial.facts import Facts
from harness.trial.pace import Pace
from harness.trial.results import Results
from harness.trial.snapshot import Drift, Snapshot


@dataclass(frozen=True)
class Arming:
    """One detector: whether the kernel has it, and whether it was on before and after the run.

    ``before`` and ``after`` are empty while it was armed, else they say why not.
    """

    detector: Detector
    present: bool
    before: str = ""
    after: str = ""

    @property
    def armed(self) -> bool:
        return self.present and not self.before and not self.after


@dataclass(frozen=True)
class Exercised:
    """One count that shows that the path was taken: what was asked for, what was reached.

    ``reached`` is None where nobody counted: the kernel lacks the counter, or the guest died.
    """

    counter: str
    source: str
    least: int
    reached: int | None

    @property
    def asked(self) -> bool:
        """Whether it has a say: a count that only some kernels offer has none on the others."""
        return self.reached is not None or Source(self.source).everywhere

    @property
    def enough(self) -> bool:
        return self.reached is not None and self.reached >= self.least


@dataclass(frozen=True)
class Evidence:
    """Filled as far as the trial came.

    ``status`` is the reproducer's exit status, None where it did not come to its end by
    itself.  ``seconds`` is how long it ran; ``first_splat`` the seconds from its start to
    the first splat on the console, None where none began while it ran; ``first_failure`` those to
    the first failure that it told of.  ``overdue`` tells that it
    was ended because it outlived its time.  ``markers`` tells whether both markers that
    were written to /dev/kmsg came out on the console: the console speaks, and what stands
    between them belongs to this trial.  ``pace`` is how counters and console grew.
    ``harness_fault`` is what went wrong on our side.
    ``coverage`` is an archive of gcov's counters, empty where nobody asked, or where there was
    no guest to ask any more.
    ``drift`` are counters that are not what they were, ``leaks`` what the epilogue found;
    ``faults`` are what the kernel's own counters say against it, as (oracle, text).
    """

    facts: Facts | None = None
    missing: tuple[str, ...] = ()
    boot_splats: tuple[Splat, ...] = ()
    splats: tuple[Splat, ...] = ()
    arming: tuple[Arming, ...] = ()
    exercised: tuple[Exercised, ...] = ()
    results: Results = field(default_factory=lambda: Results({}))
    status: int | None = None
    before: Snapshot | None = None
    after: Snapshot | None = None
    drift: tuple[Drift, ...] = ()
    leaks: tuple[Drift, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()
    life: tuple[Life, ...] = ()
    markers: tuple[bool, bool] = (False, False)
    overdue: bool = False
    seconds: float = 0.0
    first_splat: float | None = None
    first_failure: float | None = None
    postmortem: str = ""
    coverage: bytes = b""
    out: bytes = b""
    err: bytes = b""
    pace: Pace = field(default_factory=Pace)
    harness_fault: str = ""
