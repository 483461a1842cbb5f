"""What runs every night, as declared in a plan: kernels, cases, budgets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.spec.case import TestCase
from harness.spec.cases import quick, select
from harness.spec.kernel import KERNELS, KernelSpec, load_kernel
from harness.spec.reader import load


@dataclass(frozen=True)
class NightPlan:
    """``name`` is the file's; nights of one name are compared with each other.

    ``runs`` are those of each case on each kernel, ``budget`` the seconds of all trials of a
    night, 0 for no limit; ``bisect`` the seconds for looking for the culprits of what is new.
    ``nights`` is with how many earlier nights the last one is compared.
    """

    name: str
    kernels: tuple[KernelSpec, ...]
    cases: tuple[TestCase, ...]
    machine: str = ""
    runs: int = 3
    seconds: int | None = None
    budget: int = 0
    bisect: int = 0
    nights: int = 7


def load_night(file: Path) -> NightPlan:
    """Raises SpecError that names file, line and key."""
    view = load(file)
    view.text("about", "")
    kernels = view.texts("kernels")
    if not kernels:
        view.fail("kernels", "at least one kernel", "none")
    suite = view.text("suite", "all")
    if suite not in ("all", "quick"):
        view.fail("suite", "all or quick", repr(suite))
    with view.telling("cases"):
        cases = select(view.texts("cases"))
    with view.telling("kernels"):
        specs = tuple(load_kernel(_from(file, name)) for name in kernels)
    plan = NightPlan(
        name=file.stem,
        kernels=specs,
        cases=tuple(quick(cases) if suite == "quick" else cases),
        machine=view.text("machine", ""),
        runs=view.integer("runs", 3, least=1),
        seconds=view.integer("time", 0) or None,
        budget=view.integer("budget", 0),
        bisect=view.integer("bisect", 0),
        nights=view.integer("nights", 7, least=1),
    )
    view.done()
    if len({kernel.name for kernel in plan.kernels}) < len(plan.kernels):
        view.fail("kernels", "kernels of different names, for their nights are told apart by them")
    return plan


def _from(file: Path, name: str) -> str:
    """A path in a plan is relative to the plan."""
    beside = file.parent / name
    known = (KERNELS / f"{name}.yaml").is_file()
    return str(beside) if not known and beside.suffix in (".yaml", ".yml") else name
