"""A bug that was made for the plain source comes to the same tree as ours for the control."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.kernel.patch import apply_all
from harness.kernel.source import resolve
from harness.kernel.store import Store
from harness.paths import cache_dir
from harness.progress import Progress
from harness.spec.kernel import GUESTS, load_kernel

PATCHES = GUESTS / "patches"
# Those whose context a backport of the control has changed, of the 75 that are shipped.
NEAR_A_BACKPORT = (
    "reintroduce/anon-in-shareable.patch",
    "reintroduce/copy-range-migration-entry.patch",
    "reintroduce/migrate-file-no-imap-lock.patch",
    "more/fork-enomem-lock-held.patch",
)


@pytest.mark.build
@pytest.mark.parametrize("name", NEAR_A_BACKPORT, ids=lambda name: Path(name).stem)
def test_bug_for_the_plain_source_is_merged_with_the_control(name: str, tmp_path: Path) -> None:
    control = load_kernel("v5.10-debug")
    store = Store.open(cache_dir())
    source = resolve(control, cache_dir(), Progress()).tree
    ours = apply_all(store, source, [*control.patches, PATCHES / name]).tree

    # The bug without the backports: what leads from the control to the source, merged with it.
    backed = apply_all(store, source, control.patches).tree
    undo, plain = tmp_path / "undo.patch", tmp_path / "plain.patch"
    undo.write_bytes(store.attempt("diff-tree", "-p", "--text", backed, source).out)
    bare = apply_all(store, ours, [undo], earlier=(backed,)).tree
    plain.write_bytes(store.attempt("diff-tree", "-p", "--text", source, bare).out)

    done = apply_all(store, source, [*control.patches, plain])
    assert done.tree == ours
    assert [line.partition(":")[0] for line in done.inexact] == ["plain.patch"]
