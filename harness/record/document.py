"""Trial results as the JSON that results/result.schema.json describes.  Values only, no I/O."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from harness.splat.report import Splat
from harness.splat.signature import race_key, signature
from harness.trial.compile import Identity
from harness.trial.evidence import Evidence
from harness.trial.pace import Points
from harness.trial.snapshot import Snapshot
from harness.trial.trial import Trial, TrialResult

SCHEMA_VERSION = 1
"""Raised with every change that a reader of older documents would trip over."""

Json = dict[str, Any]

_STREAM_TAIL = 4000
"""Characters kept of a reproducer's own output; the whole of it stands in a file beside."""


WHOLE = 5
"""Splats of a trial that are kept with stacks and text in the document."""

_STACKS, _FRAMES, _TEXT = 12, 80, 32_000


_UNKNOWN = Identity("", "", "")


def run_document(
    run: str,
    started: float,
    command: Sequence[str],
    host: Mapping[str, str],
    trials: Sequence[Json],
) -> Json:
    """``result.json`` of one run."""
    return {
        "schema": SCHEMA_VERSION,
        "run": run,
        "started": _time(started),
        "command": list(command),
        "host": dict(host),
        "trials": list(trials),
    }


def trial_document(
    result: TrialResult,
    folder: str,
    repeat: Sequence[str],
    sources: Sequence[Json] = (),
    made: Identity = _UNKNOWN,
) -> Json:
    """One element of ``trials``.  ``folder`` is relative to the run; ``repeat`` is a command;
    ``sources`` are excerpts as sources.py makes them; ``made`` tells the reproducer's build.
    """
    seen = result.evidence
    return {
        "case": result.trial.case.name,
        "scenarios": list(result.trial.case.scenarios),
        "verdict": result.verdict.outcome.value,
        "reasons": [{"oracle": r.oracle, "text": r.text[:_TEXT]} for r in result.verdict.reasons],
        "started": _time(result.started),
        "folder": folder,
        "repeat": list(repeat),
        "kernel": _kernel(result.trial, seen),
        "machine": _machine(result.trial),
        "qemu": list(result.command),
        "boot_seconds": round(result.boot_seconds, 3),
        "run_seconds": round(seen.seconds, 3),
        "asked_seconds": result.trial.seconds,
        "first_splat_seconds": None if seen.first_splat is None else round(seen.first_splat, 3),
        "splats": _splats(seen.splats),
        "boot_splats": _splats(seen.boot_splats),
        "armed": [
            {
                "detector": arming.detector.name,
                "present": arming.present,
                "armed_before": arming.present and not arming.before,
                "armed_after": arming.present and not arming.after,
                "why_not": arming.before or arming.after,
            }
            for arming in seen.arming
        ],
        "exercised": [
            {"counter": e.counter, "source": e.source, "least": e.least, "reached": e.reached}
            for e in seen.exercised
        ],
        "reproducer": {
            **{"id": made.id, "binary": made.binary, "source": made.source},
            "status": seen.status,
            "ended": seen.results.ended,
            "overdue": seen.overdue,
            "counts": dict(seen.results.counts),
            "failures": [{"oracle": o, "text": t} for o, t in seen.results.failures],
            "out_tail": _tail(seen.out),
            "err_tail": _tail(seen.err),
        },
        "counters": {
            "before": _snapshot(seen.before),
            "after": _snapshot(seen.after),
            "drift": [
                {"counter": d.counter, "node": d.node, "before": d.before, "after": d.after}
                for d in seen.drift
            ],
            "leaks": [
                {"counter": d.counter, "node": d.node, "before": d.before, "after": d.after}
                for d in seen.leaks
            ],
            "faults": [{"oracle": oracle, "text": text} for oracle, text in seen.faults],
        },
        "life": [{"event": life.event.name, "detail": life.detail} for life in seen.life],
        "markers_seen": all(seen.markers),
        "at_splat": {
            "asked": result.trial.on_splat.value,
            "dump": result.dumped.name if result.dumped else "",
            "frozen": result.frozen,
            "problem": result.problem,
        },
        "sources": list(sources),
        "pace": {
            "counters": {name: _points(points) for name, points in seen.pace.counters.items()},
            "console": _points(seen.pace.console),
        },
    }


def _kernel(trial: Trial, seen: Evidence) -> Json:
    release = seen.facts.release if seen.facts else ""
    kernel = trial.kernel
    if kernel is None:
        return {"name": trial.remote, "release": release, "content_id": None}
    return {
        "name": kernel.name,
        "release": kernel.release or release,
        "content_id": kernel.content_id,
        "source": kernel.source,
        "patches": [{"file": name, "sha256": digest} for name, digest in kernel.patches],
        "dropped_options": list(kernel.dropped),
        "inexact_patches": list(kernel.inexact),
        "compiler": kernel.compiler,
    }


def _machine(trial: Trial) -> Json:
    machine = trial.machine
    if machine is None:
        return {"name": trial.remote}
    return {
        "name": machine.name,
        "nodes": [{"memory": node.memory, "cpus": node.cpus} for node in machine.nodes],
        "pools": [{"size": pool.size, "pages": list(pool.pages)} for pool in machine.pools],
    }


def _splats(splats: Sequence[Splat]) -> list[Json]:
    """All of them by their heads, the first ones whole: a race that is lost prints without end."""
    return [
        {**_head(splat), **(_body(splat) if number < WHOLE else {})}
        for number, splat in enumerate(splats)
    ]


def _body(splat: Splat) -> Json:
    return {
        "access": splat.access,
        "object": str(splat.slab) if splat.slab else "",
        "stamp": splat.stamp,
        "scenario": splat.scenario,
        "stacks": [
            {
                "name": stack.name,
                "frames": [
                    {
                        "function": frame.function,
                        "offset": frame.offset,
                        "size": frame.size,
                        "sure": frame.sure,
                        "place": frame.place,
                    }
                    for frame in stack.frames[:_FRAMES]
                ],
            }
            for stack in splat.stacks[:_STACKS]
        ],
        "text": splat.text[:_TEXT],
    }


def _head(splat: Splat) -> Json:
    return {
        "family": splat.family,
        "kind": splat.kind,
        "title": splat.title,
        "headline": splat.headline,
        "function": splat.function,
        "place": splat.place,
        "signature": signature(splat),
        "race_key": race_key(splat),
        "corrupted": splat.corrupted,
        "secondary": [one.title for one in splat.secondary],
        "follows": splat.follows if splat.follows >= 0 else None,
        "assertion": splat.assertion,
        "task": splat.task,
        "start": splat.start,
        "end": splat.end,
    }


def _snapshot(snapshot: Snapshot | None) -> Json | None:
    if snapshot is None:
        return None
    return {
        "pools": [
            {"node": node, "size": size, "counter": kind, "pages": pages}
            for (node, size, kind), pages in sorted(snapshot.pools.items())
        ],
        "meminfo": dict(snapshot.meminfo),
        "vmstat": dict(snapshot.vmstat),
        "cgroup": dict(snapshot.cgroup),
        "debugfs": dict(snapshot.debugfs),
        "functions": dict(snapshot.functions),
        "debug_locks": snapshot.debug_locks,
        "tainted": snapshot.tainted,
    }


def _points(points: Points) -> list[list[float]]:
    return [[seconds, value] for seconds, value in points]


def _tail(stream: bytes) -> str:
    return stream.decode("utf-8", "backslashreplace")[-_STREAM_TAIL:]


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
