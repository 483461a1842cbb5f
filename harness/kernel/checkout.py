"""The source that a kernel was built of, as files: for a debugger, which wants a folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from harness.errors import EnvironmentFault

_HEADERS = ("include/", "arch/x86/include/")
_STRINGS = (".debug_line_str", ".debug_str")
"""Where names of compiled files stand: DWARF 5, and before."""
_NAME = re.compile(rb"(?<=\0)([A-Za-z0-9_][\w./+-]*)/[\w.+-]+\.[cS]\0")


def check_out(kernel_folder: Path, vmlinux: Path, into: Path) -> None:
    """Write to ``into`` the patched folders that ``vmlinux`` was compiled of, and all headers.

    The tree is in the store beside the built kernels.  Raises EnvironmentFault.
    """
    meta = kernel_folder / "meta.json"
    try:
        tree = str(json.loads(meta.read_text(encoding="utf-8"))["tree"])
    except (OSError, ValueError, KeyError) as error:
        raise EnvironmentFault(f"{meta}: no source tree is named there: {error}") from None
    store = kernel_folder.parent.parent / "sources.git"
    env = dict(os.environ, GIT_DIR=str(store), GIT_CONFIG_GLOBAL=os.devnull)
    folders = _compiled(vmlinux)
    listing = subprocess.run(
        ["git", "ls-tree", "-r", "-z", "--name-only", tree],
        env=env,
        capture_output=True,
        timeout=60,
    )
    if listing.returncode:
        raise EnvironmentFault(f"{store}: the tree {tree} is not there any more")
    files = [
        name
        for name in listing.stdout.split(b"\0")
        if name.rpartition(b"/")[0] in folders
        or name.decode("utf-8", "replace").startswith(_HEADERS)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        env["GIT_INDEX_FILE"] = str(Path(scratch) / "index")
        checkout = ["checkout-index", "--force", "-z", "--stdin", f"--prefix={into}/"]
        for words, stdin in ((["read-tree", tree], b""), (checkout, b"\0".join(files))):
            argv = ["git", f"--work-tree={into}", *words]
            done = subprocess.run(argv, env=env, input=stdin, capture_output=True, timeout=300)
            if done.returncode:
                said = done.stderr.decode("utf-8", "replace").strip()[:300]
                raise EnvironmentFault(f"{store}: the source cannot be unpacked: {said}")
    built = vmlinux.stat().st_mtime
    for name in files:  # or a debugger would say of each that it was changed since
        os.utime(into / os.fsdecode(name), (built, built), follow_symlinks=False)


def _compiled(vmlinux: Path) -> set[bytes]:
    """Folders of the files that were compiled, by the names that the debug information has."""
    folders = set()
    try:
        with vmlinux.open("rb") as stream:
            elf = ELFFile(stream)
            for name in _STRINGS:
                if section := elf.get_section_by_name(name):
                    folders |= set(_NAME.findall(b"\0" + section.data()))
    except (OSError, ELFError) as error:
        raise EnvironmentFault(f"{vmlinux}: {error}") from None
    return folders
