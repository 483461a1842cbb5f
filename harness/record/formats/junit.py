"""JUnit XML: a suite for each kernel, a test case for each trial.

FAIL is a failure, ERROR an error; INCONCLUSIVE and SKIP are skipped, with the verdict in front of
the reason: a CI that knows only three outcomes must not take either for a pass.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from harness.record.load import Run
from harness.record.text import plain

Json = Mapping[str, Any]

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(run: Run) -> str:
    top = ET.Element("testsuites", name=_text(run.name))
    _totals(top, run.trials)
    for kernel in dict.fromkeys(trial["kernel"]["name"] for trial in run.trials):
        trials = [trial for trial in run.trials if trial["kernel"]["name"] == kernel]
        suite = ET.SubElement(top, "testsuite", name=_text(kernel))
        _totals(suite, trials)
        suite.set("timestamp", trials[0]["started"][:19])
        for trial in trials:
            _case(suite, trial)
    ET.indent(top)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(top, "unicode") + "\n"


def _totals(element: ET.Element, trials: Sequence[Json]) -> None:
    verdicts = [trial["verdict"] for trial in trials]
    for name, counted in (
        ("tests", len(verdicts)),
        ("failures", verdicts.count("FAIL")),
        ("errors", verdicts.count("ERROR")),
        ("skipped", verdicts.count("SKIP") + verdicts.count("INCONCLUSIVE")),
    ):
        element.set(name, str(counted))
    element.set("time", f"{sum(t['boot_seconds'] + t['run_seconds'] for t in trials):.3f}")


def _case(suite: ET.Element, trial: Json) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=_text(trial["kernel"]["name"]),
        name=_text(trial["folder"]),
        time=f"{trial['boot_seconds'] + trial['run_seconds']:.3f}",
    )
    properties = ET.SubElement(case, "properties")
    for name, value in (("verdict", trial["verdict"]), ("case", trial["case"])):
        ET.SubElement(properties, "property", name=name, value=_text(value))
    reasons = [f"{reason['oracle']}: {reason['text']}" for reason in trial["reasons"]]
    message = _text(f"{trial['verdict']}: {reasons[0]}" if reasons else trial["verdict"])
    body = "\n".join([*reasons, *(splat.get("text", "") for splat in trial["splats"][:1])])
    if trial["verdict"] == "FAIL":
        kind = trial["reasons"][0]["oracle"] if reasons else "unknown"
        ET.SubElement(case, "failure", message=message, type=_text(kind)).text = _text(body)
    elif trial["verdict"] == "ERROR":
        ET.SubElement(case, "error", message=message, type="harness").text = _text(body)
    elif trial["verdict"] != "PASS":
        ET.SubElement(case, "skipped", message=message)
    out = trial["reproducer"]["out_tail"]
    if out:
        ET.SubElement(case, "system-out").text = _text(out)


def _text(text: str) -> str:
    return _NO_XML.sub("\ufffd", plain(text))
