"""Patches: plain diffs and mailboxes, applied to a tree id in the store."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import PatchError
from harness.kernel.store import Store

_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]*:[ \t]")
_MAIL = re.compile(rb"^(From|Subject|Date|Message-I[Dd]):[ \t]", re.MULTILINE)
_DIFF = re.compile(rb"^(diff --git |--- |Index: )", re.MULTILINE)

_THERE = "the source has this change already"
_Paths = list[tuple[str, str]]  # a path that a diff touches, and the diff's title


@dataclass(frozen=True)
class Piece:
    """One diff of a patch file: the whole of it, or one mail's; ``subject`` is the mail's."""

    file: Path
    subject: str
    diff: bytes

    @property
    def title(self) -> str:
        return f"{self.file} ({self.subject})" if self.subject else str(self.file)


@dataclass(frozen=True)
class Patched:
    """A tree with patches, and which patch file touched which path.

    ``inexact`` says, for people, which patches did not apply as they are, and what was done.
    ``states`` are the trees that a later patch may have been made for, the newest last.
    """

    tree: str
    touched: dict[str, tuple[str, ...]]
    inexact: tuple[str, ...]
    states: tuple[str, ...]


def apply_all(
    store: Store, tree: str, patches: Sequence[Path], *, earlier: Sequence[str] = ()
) -> Patched:
    """The tree id of ``tree`` with ``patches`` applied in order.

    A patch that does not apply may have been made for the source without the patches before it
    (or for one of the trees ``earlier``): there it must apply as it is, and is merged with
    them, as ``git am --3way`` does.  Where that does not help either, one line of context
    is enough, which is patch(1)'s usual fuzz.  Both are told.

    Raises PatchError that names patch, mail, file and hunk.  Paths that would leave the tree are
    refused by git itself, and nothing but an index is written.
    """
    if not patches:
        return Patched(tree, {}, (), (*earlier, tree))
    with tempfile.TemporaryDirectory(prefix="harness-patch-") as name:
        scratch = Path(name)
        found = [(patch, pieces(store, patch)) for patch in patches]
        try:
            # One index for all: to write and read each tree between costs a second a patch.
            done, paths = _applied(
                store, scratch, tree, [each for _, part in found for each in part]
            )
        except PatchError as refused:
            if refused.hint:
                raise
            return _one_by_one(store, scratch, (*earlier, tree), found)
    return Patched(done, _by_path(paths), (), (*earlier, tree, done))


def _one_by_one(
    store: Store,
    scratch: Path,
    states: tuple[str, ...],
    found: Sequence[tuple[Path, Sequence[Piece]]],
) -> Patched:
    touched: _Paths = []
    inexact: list[str] = []
    for patch, diffs in found:
        try:
            tree, paths = _applied(store, scratch, states[-1], diffs)
        except PatchError as refused:
            if refused.hint:
                raise
            made = _merged(store, scratch, states, diffs)
            made = made or _loosely(store, scratch, states[-1], diffs)
            if made is None:
                raise
            if made.tree == states[-1]:
                raise PatchError(refused.what, hint=_THERE) from None
            tree, paths = made.tree, made.paths
            inexact.append(f"{patch.name}: {made.how}")
            states += made.other
        states += (tree,)
        touched += paths
    return Patched(states[-1], _by_path(touched), tuple(inexact), states)


def _by_path(paths: _Paths) -> dict[str, tuple[str, ...]]:
    touched: dict[str, tuple[str, ...]] = {}
    for path, title in paths:
        touched[path] = (*touched.get(path, ()), title)
    return touched


def pieces(store: Store, patch: Path) -> list[Piece]:
    """The diffs in ``patch``, in order.  Mails without a diff, such as cover letters, are left out.

    Raises PatchError when there is none.
    """
    try:
        content = patch.read_bytes()
    except OSError as error:
        raise PatchError(f"{patch}: cannot be read: {error.strerror}") from None
    found = _mails(store, patch) if is_mailbox(content) else [Piece(patch, "", content)]
    found = [piece for piece in found if _DIFF.search(piece.diff)]
    if not found:
        raise PatchError(f"{patch}: no diff in it", hint="expected a plain diff or a mailbox")
    return found


def is_mailbox(content: bytes) -> bool:
    """Whether this is mail: a ``From `` line, or a block of headers that are those of a mail."""
    if content.startswith(b"From "):
        return True
    head = re.split(rb"\r?\n\r?\n", content, maxsplit=1)[0]
    return bool(_HEADER.match(content) and _MAIL.search(head) and not _DIFF.search(head))


def _mails(store: Store, patch: Path) -> list[Piece]:
    """git's own reader undoes quoted-printable and base64, as ``git am`` does."""
    with tempfile.TemporaryDirectory(prefix="harness-mail-") as scratch:
        folder = Path(scratch)
        done = store.attempt("mailsplit", "-b", f"-o{folder}", str(patch.resolve()))
        if done.status:
            raise PatchError(f"{patch}: not a mailbox that git can split: {done.complaint}")
        found = []
        for mail in sorted(folder.glob("[0-9]*")):
            message, diff = folder / f"{mail.name}.msg", folder / f"{mail.name}.diff"
            read = store.attempt("mailinfo", str(message), str(diff), stdin=mail.read_bytes())
            if read.status:
                raise PatchError(f"{patch}: mail {mail.name}: {read.complaint}")
            subject = re.search(r"^Subject: (.*)$", read.text, re.MULTILINE)
            name = subject.group(1) if subject else f"mail {mail.name}"
            found.append(Piece(patch, name, diff.read_bytes()))
        return found


@dataclass(frozen=True)
class _Made:
    """A tree that a patch was brought to; ``other`` is the tree where it applies as it is."""

    tree: str
    paths: _Paths
    how: str
    other: tuple[str, ...] = ()


def _applied(
    store: Store, scratch: Path, tree: str, found: Sequence[Piece], *options: str
) -> tuple[str, _Paths]:
    """``tree`` with the diffs, and the paths that they touch with the diff's title."""
    index = scratch / "index"
    store.git("read-tree", tree, index=index)
    paths = [
        (path, piece.title) for piece in found for path in _apply(store, index, piece, *options)
    ]
    return store.git("write-tree", index=index), paths


def _apply(store: Store, index: Path, piece: Piece, *options: str) -> list[str]:
    """Apply one diff to ``index``; gives the paths that it touches."""
    words = ("apply", "--cached", "--whitespace=nowarn", *options)
    done = store.attempt(*words, "-", index=index, stdin=piece.diff)
    if done.status:
        back = store.attempt(*words, "--reverse", "--check", "-", index=index, stdin=piece.diff)
        hint = _THERE if back.status == 0 else ""
        said = "\n".join(f"    {line}" for line in done.complaint.splitlines()[:8])
        raise PatchError(f"{piece.title}: does not apply\n{said}", hint=hint)
    listed = store.attempt("apply", "--numstat", "-z", "-", stdin=piece.diff).out
    names = re.findall(rb"(?:\d+|-)\t(?:\d+|-)\t([^\0]+)", listed)
    return [name.decode("utf-8", "replace") for name in names]


def _merged(
    store: Store, scratch: Path, states: Sequence[str], found: Sequence[Piece]
) -> _Made | None:
    """The newest of ``states`` plus what the diffs do to the newest of the trees that they fit."""
    *before, newest = states
    for state in dict.fromkeys(reversed(before)):
        try:
            theirs, paths = _applied(store, scratch, state, found)
        except PatchError:
            continue
        if tree := _three_way(store, scratch, state, newest, theirs):
            files = ", ".join(dict.fromkeys(path for path, _ in paths))
            how = f"made for the source without the patches before it, and merged: {files}"
            return _Made(tree, paths, how, (theirs,))
    return None


def _loosely(store: Store, scratch: Path, tree: str, found: Sequence[Piece]) -> _Made | None:
    try:
        loose, paths = _applied(store, scratch, tree, found, "-C1")
    except PatchError:
        return None
    files = ", ".join(dict.fromkeys(path for path, _ in paths))
    return _Made(loose, paths, f"applied with one line of context: {files}")


def _three_way(store: Store, scratch: Path, base: str, ours: str, theirs: str) -> str | None:
    """The tree with the changes from ``base`` to both; None where they are in each other's way."""
    index = scratch / "merge"
    index.unlink(missing_ok=True)
    store.git("read-tree", "-i", "-m", "--aggressive", base, ours, theirs, index=index)
    # Per path that both have changed: its three versions, as "MODE BLOB STAGE<tab>PATH".
    versions: dict[str, dict[str, tuple[str, str]]] = {}
    for entry in store.git("ls-files", "-u", "-z", index=index).split("\0"):
        if entry:
            facts, _, path = entry.partition("\t")
            mode, blob, stage = facts.split()
            versions.setdefault(path, {})[stage] = (mode, blob)
    for path, version in versions.items():
        if set(version) != {"1", "2", "3"} or len({mode for mode, _ in version.values()}) != 1:
            return None  # made, removed or renamed by one of them
        for stage, (_, blob) in version.items():
            (scratch / stage).write_bytes(store.attempt("cat-file", "blob", blob).out)
        names = [str(scratch / stage) for stage in ("2", "1", "3")]
        done = store.attempt("merge-file", "-p", "--quiet", *names)
        if done.status:
            return None
        blob = store.git("hash-object", "-w", "--stdin", stdin=done.out)
        mode = version["2"][0]
        store.git("update-index", "--cacheinfo", f"{mode},{blob},{path}", index=index)
    return store.git("write-tree", index=index)
