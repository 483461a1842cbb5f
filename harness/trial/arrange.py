"""What is set up in a guest for one case: mounts, watchdogs, the profile of functions."""

from __future__ import annotations

import shlex

from harness.spec.case import Mount, TestCase

HUNG_SECONDS = 15
"""After how long khungtaskd reports a task that sleeps uninterruptibly: sooner than a reproducer's
own watchdog (20 s) gives up, so that a hang comes with the stack of whoever sleeps, and later than
anything that an emulated CPU under KASAN was seen to need for one uninterruptible sleep."""

_HUNG = (
    f"echo {HUNG_SECONDS} >/proc/sys/kernel/hung_task_timeout_secs;"
    " echo 5 >/proc/sys/kernel/hung_task_check_interval_secs"
)

_TYPES = {
    Mount.HUGETLBFS: ("hugetlbfs", "CONFIG_HUGETLBFS"),
    Mount.DEBUGFS: ("debugfs", "CONFIG_DEBUG_FS"),
    Mount.CGROUP_V1: ("cgroup -o hugetlb", "CONFIG_CGROUP_HUGETLB"),
    Mount.CGROUP_V2: ("cgroup2", "CONFIG_CGROUP_HUGETLB"),
}

TRACING = "/sys/kernel/debug/tracing"


def command(case: TestCase, *, profiler: bool, own: bool) -> str:
    """A shell command; what it prints goes to ``missing``.

    ``profiler`` tells that the kernel has ftrace's function profile; ``own`` that the guest is the
    harness's own: only there are sysctls changed.
    """
    parts = [_HUNG] if own else []
    parts += [_mount(mount) for mount in case.needs.mounts]
    if profiler and case.functions:
        names = shlex.quote("\n".join(case.functions))
        parts.append(
            f"if cd {TRACING}; then echo 0 >function_profile_enabled;"
            # One at a time: a name that this kernel does not have is refused, the others hold.
            f" :>set_ftrace_filter; for f in $(echo {names}); do echo $f >>set_ftrace_filter; done;"
            " echo 1 >function_profile_enabled; fi"
        )
    return "{ " + "; ".join([*parts, "true"]) + "; } 2>/dev/null"


def _mount(mount: Mount) -> str:
    kind, _ = _TYPES[mount]
    place, first = mount.value, kind.split()[0]
    # Version 1's hierarchies differ by their options, so the options are looked at too.
    there = {
        Mount.CGROUP_V1: "grep -q ' cgroup [^ ]*hugetlb' /proc/mounts",
        Mount.CGROUP_V2: "grep -l hugetlb $(sed -n 's/^[^ ]* \\([^ ]*\\) cgroup2 .*/\\1"
        "\\/cgroup.controllers/p' /proc/mounts) /dev/null | grep -q .",
    }.get(mount, f"grep -q ' {first} ' /proc/mounts")
    # sysfs takes no folders but where the kernel made one: /sys/fs/cgroup gets a tmpfs.
    folder = (
        "{ [ -d /sys/fs/cgroup ] && ! grep -q ' /sys/fs/cgroup ' /proc/mounts"
        " && mount -t tmpfs cgroup /sys/fs/cgroup; }; "
        if mount in (Mount.CGROUP_V1, Mount.CGROUP_V2)
        else ""
    )
    return (
        f"{there} || {{ {folder}mkdir -p {place}; mount -t {kind} none {place}; }};"
        f" {there} || echo lacks {mount.name}"
    )


def missing(said: str) -> tuple[str, ...]:
    """The mounts that could not be had, each with what would enable it."""
    lacks = []
    for line in said.splitlines():
        word, _, name = line.partition(" ")
        if word == "lacks" and name in Mount.__members__:
            mount = Mount[name]
            kind, option = _TYPES[mount]
            lacks.append(
                f"{kind.split()[0]} cannot be mounted at {mount.value}: it takes {option}=y"
                + (
                    ", and the hugetlb controller in no other hierarchy"
                    if mount in (Mount.CGROUP_V1, Mount.CGROUP_V2)
                    else ""
                )
            )
    return tuple(lacks)
