"""Plain diffs and mailboxes, applied to a tree in the content store."""

from __future__ import annotations

import base64
import quopri
from pathlib import Path

import pytest

from harness.errors import PatchError
from harness.kernel.patch import apply_all, is_mailbox, pieces
from harness.kernel.store import Store
from tests.fake_kernel import diff_of, make_tree


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "cache")


@pytest.fixture
def tree(tmp_path: Path, store: Store) -> str:
    folder = make_tree(tmp_path / "linux")
    return store.import_folder(folder, tmp_path / "index", ignored=True)


def mail(subject: str, body: str, encoding: str = "8bit") -> str:
    data = body.encode()
    if encoding == "base64":
        body = base64.encodebytes(data).decode()
    elif encoding == "quoted-printable":
        body = quopri.encodestring(data).decode()
    return (
        "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n"
        "From: A Developer <a@localhost>\nDate: Fri, 9 Oct 2020 10:00:00 +0000\n"
        f"Subject: {subject}\nMIME-Version: 1.0\n"
        "Content-Type: text/plain; charset=utf-8\n"
        f"Content-Transfer-Encoding: {encoding}\n\n{body}\n"
    )


def content(store: Store, tree: str, path: str) -> str:
    return store.git("show", f"{tree}:{path}")


def test_a_plain_diff_with_words_before_it(tmp_path: Path, store: Store, tree: str) -> None:
    patch = tmp_path / "words.patch"
    patch.write_text("Undo: what was done.\n\nMore words.\n\n" + diff_of("a", 2))
    done = apply_all(store, tree, [patch])
    assert "return 2;" in content(store, done.tree, "mm/a.c")
    assert "return 1;" in content(store, done.tree, "mm/b.c")
    assert done.touched == {"mm/a.c": (str(patch),)}


def test_a_series_of_mails_in_every_encoding(tmp_path: Path, store: Store, tree: str) -> None:
    words = "Words with an = sign and ümlauts.\n---\n"
    mails = [
        mail("[PATCH 0/3] a cover letter", "no diff here\n"),
        mail("[PATCH 1/3] mm: one", words + diff_of("a", 2)),
        mail("[PATCH 2/3] mm: two", words + diff_of("a", 3, was=2), "quoted-printable"),
        mail("[PATCH 3/3] mm: three", words + diff_of("b", 4), "base64"),
    ]
    patch = tmp_path / "series.mbox"
    patch.write_text("\n".join(mails))
    assert [piece.subject for piece in pieces(store, patch)] == ["mm: one", "mm: two", "mm: three"]
    done = apply_all(store, tree, [patch])
    assert "return 3;" in content(store, done.tree, "mm/a.c")
    assert "return 4;" in content(store, done.tree, "mm/b.c")
    assert done.touched["mm/a.c"] == (f"{patch} (mm: one)", f"{patch} (mm: two)")


def test_no_patches_change_nothing(store: Store, tree: str) -> None:
    assert apply_all(store, tree, []).tree == tree


def test_a_mail_that_does_not_apply_is_named(tmp_path: Path, store: Store, tree: str) -> None:
    patch = tmp_path / "series.mbox"
    patch.write_text(
        mail("[PATCH] mm: fits", diff_of("a", 2)) + mail("[PATCH] mm: late", diff_of("b", 2, was=9))
    )
    with pytest.raises(PatchError, match=r"(?s)series\.mbox \(mm: late\).*mm/b\.c:1"):
        apply_all(store, tree, [patch])


def test_a_patch_that_is_in_the_source_already_is_told(
    tmp_path: Path, store: Store, tree: str
) -> None:
    patch = tmp_path / "p.patch"
    patch.write_text(diff_of("a", 1, was=9))
    with pytest.raises(PatchError, match="has this change already"):
        apply_all(store, tree, [patch])


LINES = tuple(f"\tline({number});" for number in range(1, 30))


def changed(number: int, text: str, *, was: str = "", around: int = 3) -> str:
    """A diff that replaces one of LINES in mm/long.c, made for the file as it was at first."""
    first, last = number - around, number + around
    body = [f" {LINES[at - 1]}" for at in range(first, last + 1)]
    body[around : around + 1] = [f"-{was or LINES[number - 1]}", f"+{text}"]
    span = f"{first},{2 * around + 1}"
    return f"--- a/mm/long.c\n+++ b/mm/long.c\n@@ -{span} +{span} @@\n" + "\n".join(body) + "\n"


@pytest.fixture
def long_tree(tmp_path: Path, store: Store) -> str:
    folder = make_tree(tmp_path / "long")
    (folder / "mm" / "long.c").write_text("\n".join(LINES) + "\n")
    return store.import_folder(folder, tmp_path / "long-index", ignored=True)


def patch_file(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def test_a_patch_for_the_plain_source_is_merged_with_those_before_it(
    tmp_path: Path, store: Store, long_tree: str
) -> None:
    control = patch_file(tmp_path / "p", "0001-control.patch", changed(12, "\tbackport();"))
    bug = patch_file(tmp_path / "p", "bug.patch", changed(10, "\tbug();"))
    done = apply_all(store, long_tree, [control, bug])
    text = content(store, done.tree, "mm/long.c")
    assert "backport();" in text
    assert "bug();" in text
    assert [line.split(":")[0] for line in done.inexact] == ["bug.patch"]
    assert "merged: mm/long.c" in done.inexact[0]
    assert done.touched["mm/long.c"] == (str(control), str(bug))


def test_a_series_for_the_plain_source_is_merged_patch_by_patch(
    tmp_path: Path, store: Store, long_tree: str
) -> None:
    control = patch_file(tmp_path / "p", "0001-control.patch", changed(12, "\tbackport();"))
    first = patch_file(tmp_path / "p", "1.patch", changed(10, "\tone();"))
    second = patch_file(tmp_path / "p", "2.patch", changed(10, "\ttwo();", was="\tone();"))
    between = patch_file(tmp_path / "p", "between.patch", diff_of("a", 2))
    done = apply_all(store, long_tree, [control, first, between, second])
    assert "return 2;" in content(store, done.tree, "mm/a.c")
    text = content(store, done.tree, "mm/long.c")
    assert "backport();" in text
    assert "two();" in text
    assert len(done.inexact) == 2
    # The same, one at a time, as a campaign does.
    before = apply_all(store, long_tree, [control])
    before = apply_all(store, before.tree, [first], earlier=before.states)
    before = apply_all(store, before.tree, [between], earlier=before.states)
    assert apply_all(store, before.tree, [second], earlier=before.states).tree == done.tree


def test_changes_that_are_in_each_other_s_way_are_refused(
    tmp_path: Path, store: Store, long_tree: str
) -> None:
    control = patch_file(tmp_path / "p", "0001-control.patch", changed(10, "\tbackport();"))
    bug = patch_file(tmp_path / "p", "bug.patch", changed(10, "\tbug();"))
    with pytest.raises(PatchError, match=r"bug\.patch: does not apply"):
        apply_all(store, long_tree, [control, bug])


def test_what_a_patch_before_it_has_done_is_not_merged_to_nothing(
    tmp_path: Path, store: Store, long_tree: str
) -> None:
    control = patch_file(
        tmp_path / "p", "0001-control.patch", changed(10, "\tfix();") + changed(14, "\tmore();")
    )
    fix = patch_file(tmp_path / "p", "fix.patch", changed(10, "\tfix();"))
    with pytest.raises(PatchError) as refused:
        apply_all(store, long_tree, [control, fix])
    assert "has this change already" in refused.value.hint


def test_a_patch_for_another_version_needs_one_line_of_context(
    tmp_path: Path, store: Store, long_tree: str
) -> None:
    elsewhere = changed(10, "\tbug();").replace("line(8)", "before(8)").replace("line(13)", "x(13)")
    bug = patch_file(tmp_path / "p", "bug.patch", elsewhere)
    done = apply_all(store, long_tree, [bug])
    assert "bug();" in content(store, done.tree, "mm/long.c")
    assert "line(8);" in content(store, done.tree, "mm/long.c")
    assert done.inexact == ("bug.patch: applied with one line of context: mm/long.c",)
    nowhere = patch_file(tmp_path / "p", "no.patch", elsewhere.replace("line(9)", "before(9)"))
    with pytest.raises(PatchError):
        apply_all(store, long_tree, [nowhere])


def test_a_patch_that_applies_as_it_is_says_nothing(
    tmp_path: Path, store: Store, long_tree: str
) -> None:
    control = patch_file(tmp_path / "p", "0001-control.patch", changed(20, "\tbackport();"))
    bug = patch_file(tmp_path / "p", "bug.patch", changed(5, "\tbug();"))
    assert apply_all(store, long_tree, [control, bug]).inexact == ()


@pytest.mark.parametrize("path", ["../outside", "/etc/outside", "mm/../../outside", ".git/hooks/x"])
def test_no_path_leaves_the_tree(tmp_path: Path, store: Store, tree: str, path: str) -> None:
    patch = tmp_path / "p.patch"
    patch.write_text(f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+out\n")
    with pytest.raises(PatchError):
        apply_all(store, tree, [patch])


def test_nothing_is_written_beyond_a_symbolic_link(tmp_path: Path, store: Store, tree: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    patch = tmp_path / "p.patch"
    patch.write_text(
        "diff --git a/door b/door\nnew file mode 120000\n--- /dev/null\n+++ b/door\n"
        f"@@ -0,0 +1 @@\n+{outside}\n\\ No newline at end of file\n"
        "diff --git a/door/in b/door/in\nnew file mode 100644\n--- /dev/null\n+++ b/door/in\n"
        "@@ -0,0 +1 @@\n+in\n"
    )
    with pytest.raises(PatchError):
        apply_all(store, tree, [patch])
    assert not list(outside.iterdir())


@pytest.mark.parametrize("text", ["", "no diff\n", "From: a\nSubject: b\n\nno diff\n"])
def test_a_file_without_a_diff_is_refused(tmp_path: Path, store: Store, text: str) -> None:
    patch = tmp_path / "p.patch"
    patch.write_text(text)
    with pytest.raises(PatchError, match=r"p\.patch"):
        pieces(store, patch)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("From 0123 Mon Sep 17\n", True),
        ("Return-Path: <x>\nFrom: a\nSubject: b\n\n" + diff_of("a", 2), True),
        ("Subject: b\n\n" + diff_of("a", 2), True),
        ("Description: b\nOrigin: c\n\n" + diff_of("a", 2), False),
        (diff_of("a", 2), False),
        ("From the words of a person\n", True),
        ("Some words.\nFrom: nobody\n\n" + diff_of("a", 2), False),
    ],
)
def test_mail_is_told_from_plain_diffs(text: str, expected: bool) -> None:
    assert is_mailbox(text.encode()) is expected
