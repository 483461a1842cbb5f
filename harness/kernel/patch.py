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
    """A tree with patches, and which patch file touched which path."""

    tree: str
    touched: dict[str, tuple[str, ...]]


def apply_all(store: Store, tree: str, patches: Sequence[Path]) -> Patched:
    """The tree id of ``tree`` with ``patches`` applied in order.

    Raises PatchError that names patch, mail, file and hunk.  Paths that would leave the tree are
    refused by git itself, and nothing but an index is written.
    """
    touched: dict[str, tuple[str, ...]] = {}
    if not patches:
        return Patched(tree, touched)
    with tempfile.TemporaryDirectory(prefix="harness-patch-") as scratch:
        index = Path(scratch, "index")
        store.git("read-tree", tree, index=index)
        for patch in patches:
            for piece in pieces(store, patch):
                for path in _apply(store, index, piece):
                    touched[path] = (*touched.get(path, ()), piece.title)
        return Patched(store.git("write-tree", index=index), touched)


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


def _apply(store: Store, index: Path, piece: Piece) -> list[str]:
    """Apply one diff to ``index``; gives the paths that it touches."""
    words = ("apply", "--cached", "--whitespace=nowarn")
    done = store.attempt(*words, "-", index=index, stdin=piece.diff)
    if done.status:
        back = store.attempt(*words, "--reverse", "--check", "-", index=index, stdin=piece.diff)
        hint = "the source has this change already" if back.status == 0 else ""
        said = "\n".join(f"    {line}" for line in done.complaint.splitlines()[:8])
        raise PatchError(f"{piece.title}: does not apply\n{said}", hint=hint)
    listed = store.attempt("apply", "--numstat", "-z", "-", stdin=piece.diff).out
    names = re.findall(rb"(?:\d+|-)\t(?:\d+|-)\t([^\0]+)", listed)
    return [name.decode("utf-8", "replace") for name in names]
