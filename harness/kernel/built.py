"""A kernel that is ready to boot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BuiltKernel:
    """What a build (or an unpacked distribution image) gives.

    ``content_id`` is a digest of all that went in: the patched source tree, the final
    config, the compiler.  ``vmlinux`` carries debug information; None for a distribution
    image.  ``modules`` is a folder of the .ko files that a guest needs and of
    ``modules.load``, which names them in insmod order; None where the drivers are built in.
    ``source`` says which alternative the source came from.
    ``dropped`` are the options that a fragment asked for and Kconfig did not give,
    as ``CONFIG_X: asked y, got n (fragment)``.  ``patches`` are names with SHA-256 digests.
    ``inexact`` are those of them that did not apply as they are, and what was done instead.
    ``coverage`` holds gcov's notes and the sources of the objects that count their lines.
    """

    name: str
    content_id: str
    release: str
    image: Path
    config: Path
    vmlinux: Path | None = None
    modules: Path | None = None
    source: str = ""
    patches: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    inexact: tuple[str, ...] = ()
    compiler: str = ""
    log: Path | None = None
    coverage: Path | None = None

    def option(self, name: str) -> str:
        """The value of ``CONFIG_...`` in the final config: "y", "m", a string, or "n"."""
        for line in self.config.read_text(encoding="utf-8").splitlines():
            if line.startswith(name + "="):
                return line.partition("=")[2].strip('"')
        return "n"
