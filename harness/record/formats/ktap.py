"""KTAP, version 1 (Documentation/dev-tools/ktap.rst): a subtest for each kernel.

Only FAIL is "not ok".  What was not decided is "ok ... # SKIP" with the verdict in front of its
reason, ERROR included: KTAP has a directive for it, which the kernel's parser counts as a failed
test, and an ERROR says nothing about the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.record.load import Run
from harness.record.text import one_line

Json = Mapping[str, Any]


def ktap(run: Run) -> str:
    kernels: dict[str, list[Json]] = {}
    for trial in run.trials:
        kernels.setdefault(trial["kernel"]["name"], []).append(trial)
    lines = ["KTAP version 1", f"1..{len(kernels)}"]
    for number, (kernel, trials) in enumerate(kernels.items(), 1):
        lines += [f"    {line}" for line in _suite(kernel, trials)]
        lines.append(_result(number, kernel, trials))
    return "\n".join(lines) + "\n"


def _suite(kernel: str, trials: Sequence[Json]) -> Iterator[str]:
    yield "KTAP version 1"
    yield f"# Subtest: {_name(kernel)}"
    yield f"1..{len(trials)}"
    for number, trial in enumerate(trials, 1):
        for reason in trial["reasons"][:5]:
            yield f"# {one_line(reason['oracle'], 40)}: {one_line(reason['text'], 400)}"
        if trial["verdict"] == "FAIL":
            yield f"# repeat: {one_line(' '.join(trial['repeat']), 400)}"
        yield _result(number, trial["folder"], [trial])


def _result(number: int, name: str, trials: Sequence[Json]) -> str:
    verdicts = {trial["verdict"] for trial in trials}
    if "FAIL" in verdicts:
        return f"not ok {number} {_name(name)}"
    if "PASS" in verdicts:
        return f"ok {number} {_name(name)}"
    reasons = [
        f"{trial['verdict']}: {one_line(trial['reasons'][0]['text'], 200)}"
        for trial in trials
        if trial["reasons"]
    ]
    why = _name(reasons[0]) if reasons else "nothing was shown"
    return f"ok {number} {_name(name)} # SKIP {why}"


def _name(text: str) -> str:
    """A "#" would begin a directive."""
    return one_line(text).replace("#", "no. ") or "unnamed"
