"""How the belief of a bisection moved: a row a commit, a column a run, darker what is likelier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from harness.record.text import plain

_LEFT, _TOP, _ROW, _FOOT, _MOST = 172, 6, 20, 26, 640
_GLYPHS = {"PASS": "✓", "FAIL": "✗", "VOID": "–", "OTHER": "!"}  # noqa: RUF001


@dataclass(frozen=True)
class Step:
    """One run: on the row ``row``, and what was likely of each row behind it."""

    row: int
    seen: str
    posterior: Sequence[float]


def course_map(names: Sequence[str], steps: Sequence[Step], marked: int, label: str) -> Markup:
    """``names`` are those of the rows, from the good end; ``marked`` is the row of the answer."""
    wide = max(9.0, min(26.0, _MOST / max(1, len(steps))))
    width = int(_LEFT + wide * len(steps) + 12)
    bottom = _TOP + _ROW * len(names)
    parts = [
        f'<svg class="course" viewBox="0 0 {width} {bottom + _FOOT}" width="{width}"'
        f' height="{bottom + _FOOT}" role="img" aria-label="{_text(label)}">'
    ]
    for number, name in enumerate(names):
        y = _TOP + _ROW * number
        style = "lane best" if number == marked else "lane"
        parts.append(
            f'<text class="{style}" x="{_LEFT - 8}" y="{y + 14}">{_text(_fitting(name))}</text>'
            f'<line class="grid" x1="{_LEFT}" y1="{y + _ROW}" x2="{width - 12}" y2="{y + _ROW}"/>'
        )
    for column, step in enumerate(steps):
        x = _LEFT + wide * column
        for number, share in enumerate(step.posterior[: len(names)]):
            if share >= 0.005:
                # The root: a tenth is to be seen beside nine tenths.
                parts.append(
                    f'<rect class="heat" x="{x:.1f}" y="{_TOP + _ROW * number}"'
                    f' width="{wide:.1f}" height="{_ROW}" opacity="{share**0.5:.2f}"/>'
                )
        y = _TOP + _ROW * step.row + 14
        parts.append(
            f'<text class="seen s-{step.seen}" x="{x + wide / 2:.1f}" y="{y}">'
            f"{_GLYPHS[step.seen]}<title>run {column + 1}: {step.seen}</title></text>"
        )
    for column in _marks(len(steps)):
        x = _LEFT + wide * (column + 0.5)
        parts.append(f'<text class="axis" x="{x:.1f}" y="{bottom + 16}">{column + 1}</text>')
    parts.append("</svg>")
    return Markup("".join(parts))


def _marks(count: int) -> range:
    step = next((step for step in (1, 5, 10, 20, 50) if count / step <= 16), 100)
    return range(step - 1, count, step)


def _fitting(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"


def _text(text: str) -> str:
    return str(escape(plain(text)))
