"""From values to one HTML file that needs nothing beside it and asks no network for anything.

Three things stand between a guest's text and the reader's browser: jinja2 escapes all that is
printed, plain() writes out what would turn the order of the text, and the page's own content
security policy lets no script run but the one whose digest it names.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from harness.record.text import one_line, plain

FOLDER = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """The page as text; ``template`` is the name of a file in templates/."""
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
            script=Markup(script),
            script_digest=digest,
        )
    )


@functools.cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "one_line": one_line,
        "seconds": seconds,
        "thousands": thousands,
        "percent": percent,
        "day": lambda time: str(time)[:10],
        "minute": lambda time: str(time)[:16].replace("T", " "),
        "mib": lambda size: f"{size >> 20} MiB" if size < 1 << 30 else f"{size / (1 << 30):g} GiB",
    }
    made.globals |= {"GLYPHS": GLYPHS}
    return made


GLYPHS: Mapping[str, str] = {
    "PASS": "✓",
    "FAIL": "✗",
    "INCONCLUSIVE": "?",
    "SKIP": "\u2013",
    "ERROR": "!",
}
"""Beside the colour, for who cannot tell the colours."""


def _finalize(value: object) -> object:
    """What every printed value goes through; what we made ourselves is marked as safe."""
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup):
        return plain(value)
    return value


def seconds(value: float | None) -> str:
    """A duration in as many digits as say something."""
    if value is None:
        return "\u2013"
    if value < 10:
        return f"{value:.1f} s"
    if value < 600:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def thousands(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:,}".replace(",", "\u202f")


def many(count: int, word: str) -> str:
    return f"{thousands(count)} {word}{'' if count == 1 else 's'}"


def percent(value: float) -> str:
    """Small shares are not rounded to nothing."""
    if 0 < value < 0.01:
        return f"{100 * value:.1g} %"
    return f"{100 * value:.0f} %"
