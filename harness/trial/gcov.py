"""The line counters of a kernel that was built with CONFIG_GCOV_KERNEL, in a guest.

Documentation/dev-tools/gcov.rst: a file of counters for each object below /sys/kernel/debug/gcov,
by the path that the object was built at; writing to ``reset`` clears them all.  What the boot and
the template's warming ran is cleared before the reproducer starts.
"""

from __future__ import annotations

FOLDER = "/sys/kernel/debug/gcov"
RESET = f"echo 1 >{FOLDER}/reset"

# Their sizes read as 0, so that tar would pack nothing: each is copied first.
COLLECT = (
    f"cd {FOLDER} && rm -rf /tmp/gcov && mkdir /tmp/gcov &&"
    " find . -name '*.gcda' | while read -r f; do"
    ' mkdir -p "/tmp/gcov/${f%/*}" && cat "$f" >"/tmp/gcov/$f" || exit 1; done'
    " && cd /tmp/gcov && tar -cf - ."
)
LONGEST = 120.0
"""Seconds that it may take on an emulated, loaded guest."""

FILE = "coverage.tar"
"""Its name in a trial's folder."""
