"""What a bisection chooses among: the commits of a range, or a series of patches on a base."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.campaign.bench import quoted, stacked
from harness.errors import PatchError, UsageError
from harness.kernel.patch import apply_all, pieces
from harness.kernel.source import resolve
from harness.kernel.store import Store
from harness.kernel.tools import Done, capture, environment, require
from harness.paths import cache_dir
from harness.progress import Progress
from harness.spec.kernel import GitSource, KernelSpec

_HEADER_COST, _FILE_COST = 20, 1
"""Files that are compiled again for a header and for a C file: a guess that only has to tell a
near commit from a far one."""

_UNBUILT = re.compile(
    r"(Documentation|tools|samples|LICENSES|certs|\.[^/]*)/|arch/(?!x86/)"
    r"|[^/]*\.(rst|txt|md)$|MAINTAINERS$|CREDITS$|\.[^/]*$"
)
"""Paths that no kernel of ours is built from."""

_UNLIKELY = 0.02
"""The prior weight of a commit that touches nothing but such paths."""


@dataclass(frozen=True)
class Commit:
    """``name`` is what people call it: "3/8", or the head of its id.  ``tree`` is the id of the
    whole patched source, equal where a commit changes nothing; ``work`` is about how many files
    are compiled again between its parent and it; ``weight`` its share in the prior.
    """

    name: str
    title: str
    spec: KernelSpec
    tree: str
    work: int = 1
    weight: float = 1.0


@dataclass(frozen=True)
class Commits:
    """``all[0]`` is the good end, the last one the bad end.  ``told`` names the whole."""

    told: str
    all: tuple[Commit, ...]

    @property
    def n(self) -> int:
        return len(self.all) - 1

    def at(self, word: str) -> int:
        """The index of what a person calls ``word``.  Raises UsageError."""
        found = [
            number
            for number, commit in enumerate(self.all)
            if word in (commit.name, str(number)) or commit.name.partition("/")[0] == word
        ]
        if not found and re.fullmatch("[0-9a-f]{7,64}", word):
            found = [n for n, c in enumerate(self.all) if _same_id(c.name, word)]
        if not found:
            raise UsageError(
                f"{word!r} is none of the {self.n} commits of {self.told}",
                hint=f"they are called {self.all[0].name}, {self.all[1].name} ... "
                f"{self.all[-1].name}",
            )
        return found[0]


def _same_id(name: str, word: str) -> bool:
    return bool(re.fullmatch("[0-9a-f]+", name)) and (
        name.startswith(word) or word.startswith(name)
    )


def series(
    base: KernelSpec, file: Path, folder: Path, progress: Progress, cache: Path | None = None
) -> Commits:
    """The mails (or the one diff) of ``file``, each a commit on ``base``.

    Patches and declarations of the kernels are kept in ``folder``.  Raises PatchError that says
    at which patch the series does not apply.
    """
    cache = cache or cache_dir()
    store = Store.open(cache)
    if base.prebuilt:
        raise UsageError(f"{base.name}: an image is not built, so no patch can be put on it")
    parts = pieces(store, file)
    done = apply_all(store, resolve(base, cache, progress).tree, base.patches)
    tree = done.tree
    folder.mkdir(parents=True, exist_ok=True)
    commits = [Commit("base", base.about or base.name, base, tree)]
    patches: list[Path] = []
    for number, part in enumerate(parts, 1):
        title = part.subject or file.name
        patch = folder / f"{number:04}.patch"
        patch.write_bytes(part.diff)
        try:
            done = apply_all(store, tree, [patch], earlier=done.states)
        except PatchError as error:
            what = error.what.partition("\n")[2]
            raise PatchError(
                f"{file}: does not apply at patch {number} of {len(parts)} ({title})\n{what}",
                hint=error.hint or f"the base is {base.name}; the patches before it apply",
            ) from None
        patches.append(patch)
        name = f"{number}/{len(parts)}"
        spec = stacked(base, f"{base.name}-{number:04}", patches, folder)
        work, weight = _cost(list(done.touched))
        weight = 0.0 if done.tree == tree else weight
        commits.append(Commit(name, title, spec, done.tree, work, weight))
        tree = done.tree
    _some(commits, str(file))
    return Commits(f"{file.name} on {base.name}", tuple(commits))


def check_patches(
    base: KernelSpec, patches: Sequence[Path], progress: Progress, cache: Path | None = None
) -> None:
    """Raise PatchError where ``patches`` do not apply to ``base``; nothing is built for that."""
    if base.prebuilt:
        raise UsageError(f"{base.name}: an image is not built, so no patch can be put on it")
    cache = cache or cache_dir()
    tree = resolve(base, cache, progress).tree
    apply_all(Store.open(cache), tree, [*base.patches, *patches])


def exported(repository: Path, text: str, folder: Path) -> Path:
    """The commits ``A..B`` of ``repository`` as a mailbox in ``folder``, for ``series``."""
    git = _Git(repository)
    first, last = git.ends(text)
    merges = git.lines("rev-list", "--merges", f"{first}..{last}")
    if merges:
        raise UsageError(
            f"{text}: has {len(merges)} merges, which are no patches",
            hint="use --range, which builds the commits themselves",
        )
    words = ("--no-signature", "--no-renames", "--zero-commit", "--stdout")
    done = git.run("format-patch", *words, f"{first}..{last}")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "series.mbox"
    file.write_bytes(done.out)
    return file


def commit_range(base: KernelSpec, repository: Path, text: str, folder: Path) -> Commits:
    """The commits ``A..B`` of ``repository``, along first parents, with the patches and the
    configuration of ``base``.
    """
    if base.prebuilt:
        raise UsageError(f"{base.name}: an image is not built: no commit can stand in for it")
    git = _Git(repository)
    first, last = git.ends(text)
    form = "%H %T %s"
    listed = git.lines(
        *("log", "--first-parent", "--reverse", "--topo-order", f"--format={form}"),
        f"{first}..{last}",
    )
    listed = [git.lines("log", "-1", f"--format={form}", first)[0], *listed]
    folder.mkdir(parents=True, exist_ok=True)
    commits: list[Commit] = []
    touched = _touched(git, first, last)
    for number, line in enumerate(listed):
        commit, tree, title = (*line.split(" ", 2), "")[:3]
        source = GitSource(str(git.folder), commit, family="commits")
        file = folder / f"{commit[:12]}.yaml"
        file.write_text(
            f"extends: {quoted(base.file.absolute())}\n"
            f"source: {{git: {quoted(git.folder)}, ref: {commit}}}\n",
            encoding="utf-8",
        )
        spec = replace(base, name=commit[:12], file=file, about=title, sources=(source,))
        work, weight = _cost(touched.get(commit, []))
        if number and commits[-1].tree == tree:
            weight = 0.0
        commits.append(Commit(commit[:12], title, spec, tree, work, weight))
    _some(commits, text)
    short = re.sub("[0-9a-f]{40}", lambda found: found[0][:12], text)
    return Commits(f"{short} of {git.folder}", tuple(commits))


def _some(commits: Sequence[Commit], told: str) -> None:
    if len(commits) < 2:
        raise UsageError(f"{told}: there is no commit in it")
    if not any(commit.weight for commit in commits[1:]):
        raise UsageError(f"{told}: none of its {len(commits) - 1} commits changes anything")


def _touched(git: _Git, first: str, last: str) -> dict[str, list[str]]:
    """Paths that each commit touches; for a merge, those that differ from its first parent."""
    out = git.run(
        *("log", "--first-parent", "-m", "--name-only", "--no-renames", "-z"),
        *("--format=%x01%H", f"{first}..{last}"),
    ).out.decode("utf-8", "replace")
    found = {}
    for part in out.split("\x01")[1:]:
        commit, *paths = [word.strip("\n") for word in part.split("\0")]
        found[commit] = [path for path in paths if path]
    return found


def _cost(paths: Sequence[str]) -> tuple[int, float]:
    """What it costs to compile a change of ``paths``, and how likely it is the culprit."""
    built = [path for path in paths if not _UNBUILT.match(path)]
    work = sum(_HEADER_COST if path.endswith(".h") else _FILE_COST for path in built)
    return max(work, 1), 1.0 if built or not paths else _UNLIKELY


class _Git:
    """Questions to a person's own repository, which is only read."""

    def __init__(self, repository: Path) -> None:
        require("git")
        self.folder = repository.expanduser().resolve()
        if not self.folder.is_dir():
            raise UsageError(f"{repository}: no such folder")
        done = self._try("rev-parse", "--git-dir")
        if done.status:
            raise UsageError(
                f"{repository}: not a git tree: {done.complaint}",
                hint="give the folder of a git repository with --tree",
            )

    def _try(self, *words: str) -> Done:
        env = environment(GIT_OPTIONAL_LOCKS="0", GIT_CONFIG_NOSYSTEM="1")
        return capture(["git", "-C", str(self.folder), *words], env=env)

    def run(self, *words: str) -> Done:
        done = self._try(*words)
        if done.status:
            raise UsageError(f"{self.folder}: git {words[0]}: {done.complaint}")
        return done

    def lines(self, *words: str) -> list[str]:
        return self.run(*words).text.splitlines()

    def ends(self, text: str) -> tuple[str, str]:
        """Both ends of ``A..B`` as commit ids.  Raises UsageError that says what is wrong."""
        good, dots, bad = text.partition("..")
        if not dots or not good or not bad or bad.startswith("."):
            raise UsageError(f"{text!r}: expected A..B, where A is good and B is bad")
        first, last = self._commit(good), self._commit(bad)
        if first == last:
            raise UsageError(f"{text}: both ends are the commit {first[:12]}")
        if self._try("merge-base", "--is-ancestor", first, last).status:
            if not self._try("merge-base", "--is-ancestor", last, first).status:
                raise UsageError(
                    f"{text}: the wrong way round: {bad} is an ancestor of {good}",
                    hint=f"{bad}..{good}, the good end first",
                )
            raise UsageError(f"{text}: {good} is not an ancestor of {bad}")
        return first, last

    def _commit(self, word: str) -> str:
        done = self._try(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{word}^{{commit}}"
        )
        if done.status:
            raise UsageError(f"{self.folder}: there is no commit {word!r}")
        return done.text
