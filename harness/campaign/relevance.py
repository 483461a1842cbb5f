"""Which cases a patch is likely to be caught by: the words that its diff shares with them, and the
functions that it changes and they enter.

Only the diff counts, its hunk headers included, not the text at its head, nor its file's name: a
patch from anywhere is looked at as our own are.  Nothing is left out by this, it is only an order.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.campaign.reach import Reach, load
from harness.spec.case import TestCase

_WORD = re.compile(r"[a-z][a-z0-9_]{3,}")
_HEAD = re.compile(r"@@ .*? @@")
_CHANGED = re.compile(r"@@ .*? @@ .*?([A-Za-z_]\w*)\(|[ +-][a-z_][\w *]*?\b([A-Za-z_]\w*)\((?!.*;)")
"""The function that a hunk lies in, by its header, or one that begins in the hunk."""

_PASSED_BY = 0.3
_ENTERED = 0.5
"""What it counts for that a case enters none of the changed functions, and how much for that it
enters a rare one.  From the bugs of guests/patches/reintroduce and twelve others: between 0.2 and
0.5 the order is the same for most of them."""


def order(patch: Path, cases: Sequence[TestCase], reach: Reach | None = None) -> list[TestCase]:
    """``cases``, those first that share the rarest words with the diff of ``patch`` and enter what
    it changes, as far as ``reach`` knows of it; None: what testcases/reach.json knows.
    """
    diff = patch.read_text(encoding="utf-8", errors="replace")
    asked, changed = words_of_diff(diff), functions_of_diff(diff)
    reach = load() if reach is None else reach
    texts = {case.name: _words(_text(case)) for case in cases}
    known = Counter(word for words in texts.values() for word in words)
    weights = {word: math.log(1 + len(cases) / count) for word, count in known.items()}

    def weight(case: TestCase) -> float:
        found = shared(asked, texts[case.name])
        words = sum(weights[word] * times for word, times in found.items())
        return words * entering(case.name, changed, reach)

    return sorted(cases, key=lambda case: (-weight(case), case.name))


def entering(case: str, changed: frozenset[str], reach: Reach) -> float:
    """A factor: 1 where nothing is known of the case, or of the changed functions."""
    if case not in reach:
        return 1.0
    users = Counter(name for names in reach.values() for name in names & changed)
    if not users:
        return 1.0
    rarest = min((users[name] for name in reach[case] & changed), default=0)
    return 1 + _ENTERED * math.log(1 + len(reach) / rarest) if rarest else _PASSED_BY


def functions_of_diff(text: str) -> frozenset[str]:
    """The functions that its hunks lie in, as far as the diff names them."""
    found = (_CHANGED.match(line) for line in text.splitlines())
    return frozenset(match[1] or match[2] for match in found if match)


def shared(asked: Mapping[str, int], words: frozenset[str]) -> dict[str, float]:
    """The words of a diff that a case has too, each as often as it is named, but damped."""
    return {word: 1 + math.log(times) for word, times in asked.items() if word in words}


def words_of_diff(text: str) -> Counter[str]:
    """Words of the hunks of a diff; whole identifiers, and the parts between underscores."""
    found: Counter[str] = Counter()
    inside = False
    for line in text.splitlines():
        if line.startswith("@@ "):
            inside = True
            found.update(_pieces(_HEAD.sub("", line)))
        elif line.startswith("diff --git "):
            inside = False
        elif inside and line[:1] in ("+", "-"):
            found.update(_pieces(line[1:]))
            found.update(_pieces(line[1:]))
        elif inside:
            found.update(_pieces(line))
    return found


def _pieces(text: str) -> list[str]:
    found = _WORD.findall(text.lower())
    return found + [part for word in found for part in word.split("_") if len(part) > 3]


def _words(text: str) -> frozenset[str]:
    return frozenset(_pieces(text))


def _text(case: TestCase) -> str:
    """What a case says of itself: its reproducer, with its comments, its name, its counts and
    the kernel functions that it drives."""
    counts = " ".join(count.counter for count in case.exercised)
    source = case.reproducer.read_text(encoding="utf-8", errors="replace")
    told = [case.name, *case.args, counts, *case.needs.options, *case.paths]
    return " ".join([*told, source])
