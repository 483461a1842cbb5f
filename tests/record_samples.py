"""Runs built by hand, as result.json has them: for the history, the page and the formats."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

KASAN_TEXT = """\
BUG: KASAN: use-after-free in rmap_walk_anon+0x1d0/0x2c0
Read of size 8 at addr ffff888005d3a9a0 by task mover/101
CPU: 1 PID: 101 Comm: mover Not tainted 5.10.218 #1
Call Trace:
 dump_stack+0x9b/0xce
 rmap_walk_anon+0x1d0/0x2c0
 migrate_pages+0x7c4/0x1260
 do_pages_move+0x3f1/0x8e0
 __x64_sys_move_pages+0x8f/0xe0
Allocated by task 100:
 kmem_cache_alloc+0x11c/0x2a0
 anon_vma_fork+0x9e/0x2d0
Freed by task 102:
 kmem_cache_free+0x8a/0x290
 unlink_anon_vmas+0x1b2/0x320
"""

TITLE = "KASAN: use-after-free Read in rmap_walk_anon"


def frame(function: str, place: str = "", sure: bool = True) -> dict[str, Any]:
    return {"function": function, "offset": 16, "size": 96, "sure": sure, "place": place}


def splat(signature: str = "4c1f00aa11bb", title: str = TITLE, **more: Any) -> dict[str, Any]:
    function = title.rpartition(" ")[2]
    return {
        **{"family": "KASAN", "kind": "use-after-free", "title": title},
        **{"headline": f"BUG: KASAN: use-after-free in {function}+0x1d0/0x2c0"},
        **{"function": function, "place": "mm/rmap.c:1830", "signature": signature},
        **{"race_key": "memory: page migration", "task": "mover/101", "start": 100, "end": 900},
        **{"access": "Read", "object": "anon_vma_chain of size 64, 16 bytes inside"},
        **{"stamp": 12.5, "scenario": "", "corrupted": ""},
        "stacks": [
            {
                "name": "access",
                "frames": [
                    frame("dump_stack", "lib/dump_stack.c:118"),
                    frame(function, "mm/rmap.c:1830"),
                    frame("migrate_pages", "mm/migrate.c:1450"),
                    frame("stale", "", sure=False),
                    frame("__x64_sys_move_pages", "mm/migrate.c:1930"),
                ],
            },
            {"name": "alloc", "frames": [frame("anon_vma_fork", "mm/rmap.c:345")]},
            {"name": "free", "frames": [frame("unlink_anon_vmas", "mm/rmap.c:405")]},
        ],
        "text": KASAN_TEXT,
        **more,
    }


def trial(verdict: str = "PASS", number: int = 1, **more: Any) -> dict[str, Any]:
    """One trial; ``more`` replaces fields.  A FAIL comes with a splat."""
    case = str(more.pop("case", "anon_fork_migrate"))
    kernel = str(more.pop("kernel", "v5.10-debug"))
    failed = verdict == "FAIL"
    splats = more.pop("splats", [splat()] if failed else [])
    reasons = [{"oracle": "splat", "text": f"{s['title']} ({s['place']})"} for s in splats]
    if verdict in ("INCONCLUSIVE", "SKIP", "ERROR"):
        reasons = [{"oracle": "exercised", "text": "moved (reproducer): only 3 of 20 needed"}]
    seconds = 3.25 if failed else 10.0
    snapshot = {
        "pools": [
            {"node": node, "size": 2 << 20, "counter": counter, "pages": pages}
            for node in (0, 1)
            for counter, pages in (("free", 16), ("nr", 16), ("surplus", 0))
        ],
        "meminfo": {"HugePages_Total": 32},
        "vmstat": {"pgmigrate_success": 100},
        "debug_locks": True,
        "tainted": 0,
    }
    return {
        **{"case": case, "scenarios": ["S01"], "verdict": verdict, "reasons": reasons},
        "started": more.pop("started", "2026-03-01T06:00:00+00:00"),
        "folder": f"{number:03}-{case}--{kernel}",
        "repeat": ["harness", "run", case, "--kernel", kernel, "--time", "10"],
        "kernel": {
            **{
                "name": kernel,
                "release": "5.10.218",
                "content_id": (kernel.encode().hex() * 3)[:20],
            },
            **{"source": "Debian linux-source-5.10 5.10.218-1", "dropped_options": []},
            "patches": [{"file": "0001-control.patch", "sha256": "ab" * 32}],
            "compiler": "gcc (Debian 12.2.0-14) 12.2.0",
        },
        "machine": {
            "name": "two-nodes",
            "nodes": [{"memory": 1 << 29, "cpus": 1}, {"memory": 1 << 29, "cpus": 1}],
            "pools": [{"size": 2 << 20, "pages": [16, 16]}],
        },
        **{"qemu": ["qemu-system-x86_64", "-m", "1G"], "boot_seconds": 7.5},
        **{"run_seconds": seconds, "asked_seconds": 10},
        **{"first_splat_seconds": 1.2 if failed else None, "splats": splats, "boot_splats": []},
        "armed": [
            {
                **{"detector": "KASAN", "present": True, "armed_before": True},
                **{"armed_after": not failed, "why_not": "it reported" if failed else ""},
            }
        ],
        "exercised": [
            {"counter": "moved", "source": "reproducer", "least": 20, "reached": 140 + number},
            {"counter": "pgmigrate_success", "source": "vmstat", "least": 20, "reached": 150},
        ],
        "reproducer": {
            **{"status": None if failed else 0, "ended": not failed, "overdue": False},
            **{"counts": {"moved": 140 + number, "forked": 60}, "failures": []},
            **{"out_tail": "@ count moved 141\n@ end\n", "err_tail": ""},
        },
        "counters": {"before": snapshot, "after": None if failed else snapshot, "drift": []},
        **{"life": [], "markers_seen": True, "sources": [EXCERPT] if failed else []},
        "pace": {
            "counters": {
                "moved": [[0.1 * n, 14 * n] for n in range(1, 11)],
                "forked": [[0.1 * n, 6 * n] for n in range(1, 11)],
                "free_2M.node0": [[0.1 * n, 15 - n % 2] for n in range(1, 11)],
                "free_2M.node1": [[0.1 * n, 15 + n % 2] for n in range(1, 11)],
            },
            "console": [[0.0, 20000], [1.2, 20100], [1.4, 26000]],
        },
        **more,
    }


CONSEQUENCE = "WARNING in do_exit"


def cascade(number: int = 1) -> dict[str, Any]:
    """A FAIL whose task broke twice more as it died, and whose other task broke as well."""
    behind: dict[str, Any] = {"follows": 100, "race_key": "warning: do_exit"}
    first = splat(assertion="VM_BUG_ON_PAGE(page_mapped(page))", follows=None)
    return trial(
        "FAIL",
        number,
        splats=[
            first | {"secondary": ["Kernel panic: fatal exception"]},
            splat("dddd00aa11bb", CONSEQUENCE, start=950, end=990, **behind),
            splat("dddd00aa11bb", CONSEQUENCE, start=1000, end=1090, **behind),
            splat("eeee00aa11bb", "KASAN: use-after-free Write in other", start=2000, end=2100),
        ],
    )


EXCERPT = {
    "place": "mm/rmap.c:1830",
    "first": 1826,
    "lines": [
        "\tanon_vma_interval_tree_foreach(avc, &anon_vma->rb_root,",
        "\t\t\tpgoff_start, pgoff_end) {",
        "\t\tstruct vm_area_struct *vma = avc->vma;",
        "",
        "\t\tunsigned long address = vma_address(page, vma);",
        "\t\tif (rwc->invalid_vma && rwc->invalid_vma(vma, rwc->arg))",
        "\t\t\tcontinue;",
    ],
}


def run(
    trials: list[dict[str, Any]], name: str = "20260301-060000-00aa", **more: Any
) -> dict[str, Any]:
    return {
        **{"schema": 1, "run": name, "started": "2026-03-01T06:00:00+00:00"},
        "command": ["harness", "run"],
        "host": {"kernel": "6.1.0", "harness": "0.1.0", "commit": "0123456", "qemu": "QEMU 7.2"},
        "trials": trials,
        **more,
    }


def write_run(base: Path, document: dict[str, Any]) -> Path:
    """A run folder as the harness leaves it: result.json, and a console for each trial."""
    folder = base / str(document["run"])
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(document))
    for each in document["trials"]:
        (folder / each["folder"]).mkdir()
        text = "Linux version 5.10.218\n" + "".join(s.get("text", "") for s in each["splats"])
        console = folder / each["folder"] / "console.log"
        console.write_bytes(text.encode("utf-8", "backslashreplace"))
    return folder


def many(count: int, seed: int = 1, days: int = 300) -> list[dict[str, Any]]:
    """Trials of eight cases on six kernels over ``days`` days; a quarter of the cells fail."""
    dice = random.Random(seed)
    made = []
    for number in range(1, count + 1):
        case, kernel = f"case_{dice.randrange(8)}", f"kernel-{dice.randrange(6)}"
        fails = (int(case[-1]) + int(kernel[-1])) % 4 == 0 and dice.random() < 0.7
        verdict = "FAIL" if fails else dice.choice(["PASS"] * 9 + ["INCONCLUSIVE"])
        heads = ("rmap_walk_anon", "invalid_migration_vma", "page_vma_mapped_walk")
        head = dice.choice(heads)
        signature = f"{heads.index(head):02x}{int(case[-1]):02x}00aabbcc"
        day = dice.randrange(days)
        made.append(
            trial(
                verdict,
                number,
                **{"case": case, "kernel": kernel},
                started=f"2026-{day // 28 % 12 + 1:02}-{day % 28 + 1:02}T06:00:00+00:00",
                **({"splats": [splat(signature, f"KASAN: use-after-free Read in {head}")]})
                if fails
                else {},
            )
        )
    return made
