"""A kernel of two files that builds in a blink, by the same steps as a real one."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from harness.progress import Progress
from harness.spec.kernel import KernelSpec, Source

MAKEFILE = """\
B := $(O)
bzImage: $(B)/vmlinux
\t@mkdir -p $(B)/arch/x86/boot $(B)/include/config
\t@echo 1.2.3 > $(B)/include/config/kernel.release
\t@cp $< $(B)/arch/x86/boot/bzImage
$(B)/vmlinux: $(B)/mm/a.o $(B)/mm/b.o
\t@echo "  LD      vmlinux"
\t@cat $^ > $@
$(B)/mm/%.o: mm/%.c $(B)/.config
\t@echo "  CC      mm/$*.o"
\t@mkdir -p $(B)/mm
\tgcc -c -o $@ $(abspath $<)
\t@echo cmd > $(B)/mm/.$*.o.cmd
"""

MERGE = """\
#!/bin/sh
shift
out=$2
shift 2
echo ran >> "$out/../merges"
cat "$@" | grep -v GHOST > "$out/.config"
"""

SOURCE = """\
int {name}(void)
{{
\treturn 1;
}}
"""

RELEASE = "1.2.3"


def make_tree(folder: Path) -> Path:
    files = {
        "Makefile": MAKEFILE,
        "Kconfig": "# none\n",
        ".gitignore": "*.o\n.*\n!.gitignore\n/vmlinux\n/include/generated/\n",
        "scripts/kconfig/merge_config.sh": MERGE,
        "mm/a.c": SOURCE.format(name="a"),
        "mm/b.c": SOURCE.format(name="b"),
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "scripts/kconfig/merge_config.sh").chmod(0o755)
    return folder


def diff_of(name: str, value: int, was: int = 1) -> str:
    """A diff that makes mm/NAME.c return another number."""
    return (
        f"diff --git a/mm/{name}.c b/mm/{name}.c\n"
        f"--- a/mm/{name}.c\n+++ b/mm/{name}.c\n"
        f"@@ -1,4 +1,4 @@\n int {name}(void)\n {{\n-\treturn {was};\n+\treturn {value};\n }}\n"
    )


def broken_diff(name: str) -> str:
    """A diff that applies and does not compile."""
    return diff_of(name, 2).replace("return 2;", "return nowhere;")


def make_tarball(tree: Path, file: Path) -> str:
    """Packs ``tree`` as releases are packed; gives the SHA-256."""
    argv = ["tar", "-C", str(tree.parent), "-cJf", str(file), tree.name]
    subprocess.run(argv, check=True)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def git(folder: Path, *words: str) -> str:
    env = os.environ | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@localhost",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@localhost",
    }
    argv = ["git", "-C", str(folder), *words]
    return subprocess.run(argv, check=True, env=env, capture_output=True, text=True).stdout.strip()


def commit_all(folder: Path) -> str:
    """``folder`` as a git repository with one more commit; gives its id."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "a commit")
    return git(folder, "rev-parse", "HEAD")


def make_spec(
    tmp: Path,
    *sources: Source,
    config: str = "CONFIG_A=y\n",
    patches: dict[str, str] | None = None,
    name: str = "fake",
) -> KernelSpec:
    fragment = tmp / f"{hashlib.sha256(config.encode()).hexdigest()[:8]}.config"
    fragment.write_text(config, encoding="utf-8")
    files = []
    for file, text in (patches or {}).items():
        (tmp / file).write_text(text, encoding="utf-8")
        files.append(tmp / file)
    return KernelSpec(name, tmp / f"{name}.yaml", "", sources, (fragment,), tuple(files))


class Said(Progress):
    """Keeps what was said, and the titles of the stages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)
