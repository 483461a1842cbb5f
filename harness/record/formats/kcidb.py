"""KernelCI's report format, KCIDB version 5: checkouts, builds, tests, issues and incidents.

An issue is one splat by its signature, an incident one trial that showed it, so that sightings of
several runs come together at the receiver.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.record.chains import chains, counted
from harness.record.load import Run
from harness.record.text import plain

Json = dict[str, Any]

ORIGIN = "hugetlb_harness"
MAJOR, MINOR = 5, 3

STATUS = {
    "PASS": "PASS",
    "FAIL": "FAIL",
    "INCONCLUSIVE": "DONE",  # it completed, and says nothing of the tested code
    "SKIP": "SKIP",
    "ERROR": "MISS",  # it did not run, by a failure of the harness
}

_EXCERPT = 16_000
_COMMIT = re.compile(r"\b[0-9a-f]{40}\b")


def kcidb(run: Run, origin: str = ORIGIN) -> Json:
    checkouts: dict[str, Json] = {}
    builds: dict[str, Json] = {}
    issues: dict[str, Json] = {}
    incidents: list[Json] = []
    tests = []
    for trial in run.trials:
        checkout, build = _kernel(trial["kernel"], origin)
        checkouts[checkout["id"]] = checkout
        builds[build["id"]] = build
        test = _test(run, trial, build["id"], origin)
        tests.append(test)
        for issue, incident in _issues(trial, test["id"], origin):
            issues[issue["id"]] = issue
            incidents.append(incident)
    return {
        "version": {"major": MAJOR, "minor": MINOR},
        "checkouts": list(checkouts.values()),
        "builds": list(builds.values()),
        "tests": tests,
        "issues": list(issues.values()),
        "incidents": incidents,
    }


def _kernel(kernel: Mapping[str, Any], origin: str) -> tuple[Json, Json]:
    digests = [patch["sha256"] for patch in kernel.get("patches", [])]
    hashed = "".join(f"{digest}\n" for digest in digests).encode()
    patchset = hashlib.sha256(hashed).hexdigest() if digests else ""
    source = _text(kernel.get("source", ""))
    where = hashlib.sha256(f"{source}\0{kernel['name']}\0{patchset}".encode()).hexdigest()[:24]
    checkout: Json = {
        "id": f"{origin}:{where}",
        "origin": origin,
        "patchset_hash": patchset,
        "comment": _text(f"{kernel['name']}: {source}" if source else kernel["name"]),
        "valid": True,
        "misc": {"patches": [patch["file"] for patch in kernel.get("patches", [])]},
    }
    if found := _COMMIT.search(source):
        checkout["git_commit_hash"] = found[0]
    build: Json = {
        "id": f"{origin}:{_text(kernel.get('content_id') or 'booted-' + where)}",
        "checkout_id": checkout["id"],
        "origin": origin,
        "architecture": "x86_64",
        "config_name": _text(kernel["name"]),
        "status": "PASS",
        "misc": {
            "release": _text(kernel.get("release", "")),
            "dropped_options": [_text(line) for line in kernel.get("dropped_options", [])],
        },
    }
    if kernel.get("compiler"):
        build["compiler"] = _text(kernel["compiler"])
    return checkout, build


def _test(run: Run, trial: Mapping[str, Any], build: str, origin: str) -> Json:
    reasons = "\n".join(f"{r['oracle']}: {r['text']}" for r in trial["reasons"])
    texts = [splat.get("text", "") for splat in trial["splats"][:1]]
    test: Json = {
        "id": f"{origin}:{_text(run.name)}/{_text(trial['folder'])}",
        "build_id": build,
        "origin": origin,
        "path": f"hugetlb.{re.sub(r'[^A-Za-z0-9_-]+', '_', trial['case'])}",
        "status": STATUS[trial["verdict"]],
        "start_time": trial["started"],
        "duration": trial["boot_seconds"] + trial["run_seconds"],
        "environment": {"comment": f"QEMU, machine {_text(trial['machine']['name'])}"},
        "misc": {
            "verdict": trial["verdict"],
            "repeat": [_text(word) for word in trial["repeat"]],
            "exercised": {c["counter"]: c["reached"] for c in trial["exercised"]},
            "counts": dict(trial["reproducer"]["counts"]),
            "came_of_it": [
                _text(title) for chain in chains(trial["splats"]) for title in counted(chain.after)
            ],
        },
    }
    if excerpt := "\n".join(part for part in (reasons, *texts) if part):
        test["log_excerpt"] = _text(excerpt)[:_EXCERPT]
    return test


def _issues(trial: Mapping[str, Any], test: str, origin: str) -> Iterator[tuple[Json, Json]]:
    """Each splat once, however often the trial printed it; what came of another is no issue."""
    if trial["verdict"] != "FAIL":
        return
    firsts = [chain.first for chain in chains(trial["splats"])]
    seen = {splat["signature"]: splat for splat in reversed(firsts)}
    for signature, splat in seen.items():
        identity = f"{origin}:{_text(signature)}"
        yield (
            {
                **{"id": identity, "version": 1, "origin": origin},
                "report_subject": _text(splat["title"]),
                "culprit": {"code": True, "tool": False, "harness": False},
                "comment": _text(_comment(splat)),
            },
            {
                **{"id": f"{identity}/{test.partition(':')[2]}", "origin": origin},
                **{"issue_id": identity, "issue_version": 1},
                **{"test_id": test, "present": True},
            },
        )


def _comment(splat: Mapping[str, Any]) -> str:
    place = f" at {splat['place']}" if splat["place"] else ""
    because = f": {splat['assertion']}" if splat.get("assertion") else ""
    return f"{splat['title']}{place}{because}"


def _text(text: str) -> str:
    return plain(text).encode("utf-8", "replace").decode()
