"""A reproducer in a guest: arm, snapshot, run, drain, snapshot again.  Judges nothing."""

from __future__ import annotations

import re
import secrets
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from harness.errors import GuestLost
from harness.guest.seam import Guest, Load, Running, wait_for
from harness.spec.case import AtLeast, Source, TestCase
from harness.splat.lines import STAMP
from harness.splat.reader import Reader, read
from harness.splat.report import Splat
from harness.trial import arrange, dialects, epilogue, gcov, launch, limits
from harness.trial import facts as facts_
from harness.trial import results as results_
from harness.trial import snapshot as snapshot_
from harness.trial.arming import arming
from harness.trial.ask import Mark, ask, ask_all
from harness.trial.atsplat import STEP, AtSplat
from harness.trial.evidence import Evidence, Exercised
from harness.trial.pace import PaceKeeper
from harness.trial.prologue import Begun, begin
from harness.trial.results import Results
from harness.trial.snapshot import Drift

POLL = 0.02
"""Seconds between two looks at console, life and reproducer."""

LOOK = 0.1
"""Seconds between two looks at how counters grow; reproducers print them that often at first."""

DRAIN_QUIET, DRAIN_LONGEST = 1.0, 5.0
"""Seconds of silence that end a splat, and the most that is waited for it.  A race that is lost
prints without end (10,000 reports in 5 minutes were seen), so the second one is needed."""

LATE = 1.0
"""Seconds after the reproducer's end in which a late splat is still its own."""

MAX_CONSOLE = 1 << 30
"""Bytes; a trial ends at its first splat, so that so much is a program that talks."""

CUT = 3.0
"""Seconds that a reproducer may go on after a failure that it told of: the verdict is made, and
what waits for something that failed would wait until its watchdog speaks."""

MARKER = 5.0
"""Seconds of the guest that a line written to /dev/kmsg may take to the console, behind what is
queued there."""

MORE, MORE_TIMES = 30.0, 3
"""Seconds that a reproducer goes on by itself where its counts are too low (repro.c): so many, or
so many times its own."""

GRACE = 45.0
"""Seconds that a reproducer may take beyond its time: its own watchdog speaks after 20."""

OWN_CLOCK, SILENT = "own_ms", 20.0
"""A guest that gets too little of the host's CPUs loses timer ticks, so its clock is slow.  Whoever
tells by his own clock that it is not yet time, and told so SILENT seconds ago at the latest, does
not hang."""

LONGEST, LONGEST_TIMES = 600.0, 4
"""Seconds of the host that are the end of all patience with a guest that is only slow, and the
multiple of what it was allowed."""

SETTLE = 5.0
"""Seconds of the guest in which counters may still settle: free_hpage_workfn() gives huge pages
back later."""

SHRINK, SCAN = 60.0, 300.0
"""Seconds that emptying the pools may take, and kmemleak's scan of all memory when emulated."""

REMOTE_FOLDER = "/tmp"

_NAMED = {Source.REPRODUCER: "", Source.VMSTAT: "vmstat:"}
"""How repro.c names who counts."""

FAILED = re.compile(rb"^@ fail \S+ .*\n", re.MULTILINE)
"""As repro.c's fail() prints it, whole."""


@dataclass(frozen=True)
class Settings:
    """How a trial is run.  ``options`` are kernel options known from the build; ``coverage`` asks
    for the line counters of a kernel that has them.
    """

    seconds: int
    options: Mapping[str, str] | None = None
    coverage: bool = False
    at_splat: AtSplat | None = None


def run(guest: Guest, case: TestCase, binary: bytes, settings: Settings) -> Evidence:
    """Run ``case`` in ``guest`` and return all that was seen.  Never raises for a guest's death."""
    return _Run(guest, case, settings).all(binary)


class _Run:
    """One run under way: evidence grows step by step, so that a guest's death loses nothing."""

    def __init__(self, guest: Guest, case: TestCase, settings: Settings) -> None:
        self._guest, self._case, self._settings = guest, case, settings
        self._seen = Evidence()
        self._splats: list[Splat] = []
        self._nonce = secrets.token_hex(4)
        self._spoken = False
        self._cut = False
        self._heard: tuple[float, int] | None = None
        self._begin_at(guest.boot_end)

    def all(self, binary: bytes) -> Evidence:
        try:
            if begun := self._prepare(binary):
                self._reproduce(begun)
                self._afterwards()
        except GuestLost as lost:
            # What ended the guest is known by its life; where it is not, the link is at fault.
            time.sleep(LATE)
            if not self._guest.life():
                self._note(harness_fault=str(lost))
        self._finish()
        return self._seen

    @property
    def _path(self) -> str:
        return f"{REMOTE_FOLDER}/{self._case.name}"

    def _note(self, **seen: object) -> None:
        self._seen = replace(self._seen, **seen)  # type: ignore[arg-type]

    def _begin_at(self, offset: int) -> None:
        """What stands on the console before ``offset`` is the boot's own, splats included."""
        boot = self._guest.console(0)[:offset]
        self._note(boot_splats=tuple(read(boot)))
        # prefixed: without CONFIG_PRINTK_TIME every line would be taken for user space; booted:
        # a second "Linux version" is a reboot; base: offsets are those of the console.
        self._reader = Reader(prefixed=bool(STAMP.search(boot)), booted=True, base=offset)
        self._read_to = offset

    def _prepare(self, binary: bytes) -> Begun | None:
        """Facts, the first marker, the first snapshot, needs; the reproducer, brought and waiting.
        None when something is missing.

        All in one exchange where the kernel's options are known.
        """
        case, options = self._case, self._settings.options
        if options is None:
            said = ask(self._guest, facts_.config(facts_.options_of(case)))
            options = facts_.options_in(said)
        profiler = options.get("CONFIG_FUNCTION_PROFILER") == "y"
        mark = Mark.of(self._guest, f"begin {case.name} {self._nonce}")
        asked = [
            mark.command,
            f"{arrange.command(case, profiler=profiler, own=self._own)}; {epilogue.CLEAR}",
            snapshot_.command(facts_.FILES),
            launch.unpack(case.payload) if case.payload else "true",
            gcov.RESET if self._settings.coverage else "true",
        ]
        load = Load(binary, self._path)
        if case.payload:
            load = Load(binary, launch.ARCHIVE, 0o600)
        begun = begin(self._guest, self._nonce, load, asked, self._command)
        _, arranged, read, unpacked, _ = begun.said
        begin_at = mark.end(MARKER)
        if begin_at >= 0:
            self._begin_at(begin_at)
        facts, before = facts_.parse(read, options), snapshot_.parse(read)
        missing = facts_.missing(case, facts, before) + arrange.missing(arranged)
        self._note(facts=facts, before=before, missing=missing, markers=(begin_at >= 0, False))
        if missing:
            begun.kill()
            return None
        if unpacked.strip():
            raise GuestLost(f"unpacking the test: {unpacked.strip()[:200]}")
        return begun

    @property
    def _own(self) -> bool:
        """Whether the guest is ours alone, to be thrown away afterwards."""
        return bool(self._guest.command)

    def _ask_all(self, *commands: str, timeout: float = 60.0) -> list[str]:
        return ask_all(self._guest, self._nonce, *commands, timeout=timeout)

    @property
    def _command(self) -> str:
        case, seconds = self._case, self._settings.seconds
        if case.payload:
            return launch.command(case.payload, seconds)
        asked = ["-t", str(seconds)] if case.ours else []
        return self._least() + shlex.join([self._path, *asked, *case.args])

    def _reproduce(self, running: Begun) -> None:
        start = time.monotonic()
        running.go()
        keeper = PaceKeeper()
        try:
            self._watch(running, start, keeper)
        finally:
            seconds = time.monotonic() - start
            if not self._frozen:
                running.kill()
            out, err = running.so_far()
            keeper.look(seconds, out, self._read_to)
            self._note(seconds=seconds, pace=keeper.pace())
            self._note(out=out, err=err, results=self._results(out, err))

    def _results(self, out: bytes, err: bytes) -> Results:
        if payload := self._case.payload:
            return dialects.read(payload.dialect, out, err, self._seen.status)
        return results_.parse(out)

    def _least(self) -> str:
        """The counts that the reproducer goes on for, as a variable before its command line."""
        counts = [c for c in self._case.exercised if c.source.everywhere]
        if not self._case.ours or not counts:
            return ""
        asked = " ".join(f"{_NAMED[c.source]}{c.counter}={c.least}" for c in counts)
        return f"LEAST={shlex.quote(asked)} "

    def _watch(self, running: Running, start: float, keeper: PaceKeeper) -> None:
        """Until the reproducer ends or has failed, a splat is complete, the guest dies, or time is
        over."""
        begun = self._guest.lived()
        lived = next_look = 0.0
        while True:
            self._read()
            if (now := time.monotonic()) >= next_look:
                out = running.so_far()[0]
                keeper.look(now - start, out, self._read_to)
                self._look_for_failure(now - start, out)
                # Somebody else's program is ended, and not judged, when its time is over.
                lived = self._guest.lived() - begun if self._case.ours else now - start
                self._hear(keeper, lived)
                next_look = now + LOOK
            if self._splat_begun and self._seen.first_splat is None:
                self._note(first_splat=time.monotonic() - start)
                self._let_speak()
                return
            done = running.poll()
            if done is not None:
                self._note(status=done.status)
                return
            if self._guest.life():
                self._let_speak()
                self._note(postmortem=self._guest.postmortem())
                return
            told = self._seen.first_failure
            if told is not None and now - start - told > CUT:
                self._cut = True
                return
            if self._read_to > MAX_CONSOLE:
                self._note(
                    harness_fault=f"the console grew beyond {MAX_CONSOLE >> 20} MiB:"
                    " the trial was cut off there, before it fills this host's disk"
                )
                return
            if self._starved(now - start, lived):
                self._note(
                    harness_fault=f"the guest had too little of this host's CPUs: {lived:.0f} s of"
                    f" {now - start:.0f} s, and {self._allowed:.0f} s are allowed"
                )
                return
            if lived >= self._allowed and not self._slow(lived):
                self._note(overdue=True)
                if self._case.ours:
                    self._note(postmortem=self._guest.postmortem())
                    self._let_speak()
                return
            time.sleep(POLL)

    def _look_for_failure(self, elapsed: float, out: bytes) -> None:
        if self._case.ours and self._seen.first_failure is None and FAILED.search(out):
            self._note(first_failure=elapsed)

    @property
    def _allowed(self) -> float:
        """Seconds until a reproducer is overdue, of the guest's time (``Guest.lived``)."""
        seconds = float(self._settings.seconds)
        return seconds + (max(MORE, MORE_TIMES * seconds) + GRACE if self._case.ours else 0.0)

    def _hear(self, keeper: PaceKeeper, lived: float) -> None:
        """Remember when the reproducer told the time by its own clock last."""
        told = keeper.last(OWN_CLOCK)
        if told is not None and (self._heard is None or told[1] != self._heard[1]):
            self._heard = (lived, told[1])

    def _slow(self, lived: float) -> bool:
        """Whether it is the guest's clock that is late, and not the reproducer."""
        if self._heard is None or not self._case.ours:
            return False
        heard, told = self._heard
        return told < 1000 * self._allowed and lived - heard < SILENT

    def _starved(self, elapsed: float, lived: float) -> bool:
        """Whether all patience is over, and it cannot be told whether the reproducer hangs."""
        if not self._case.ours or elapsed <= max(LONGEST, LONGEST_TIMES * self._allowed):
            return False
        return lived < self._allowed or self._slow(lived)

    def _let_speak(self) -> None:
        """Until the console is quiet; with a look at the memory, or a guest that stops at once."""
        at = self._settings.at_splat
        self._spoken = True
        if at is None:
            self._drain(lambda: False)
            return
        at.begun()
        if at.by_steps:
            self._step(at)
        else:
            self._drain(lambda: False)
        at.complete()

    def _step(self, at: AtSplat) -> None:
        """As ``_drain``, for a guest that is to stop where its report ends."""
        longest, quiet = DRAIN_LONGEST / STEP, DRAIN_QUIET / STEP
        silent = 0
        while longest > 0 and silent < quiet and at.by_steps and not self._reader.complete:
            at.step()
            longest -= 1
            silent = 0 if self._read() else silent + 1

    @property
    def _frozen(self) -> bool:
        return self._settings.at_splat is not None and self._settings.at_splat.frozen

    @property
    def _splat_begun(self) -> bool:
        return bool(self._splats) or self._reader.pending

    def _read(self) -> bool:
        """Feed the reader what the console said since the last look; whether it said anything."""
        chunk = self._guest.console(self._read_to)
        self._read_to += len(chunk)
        self._splats.extend(self._reader.feed(chunk))
        return bool(chunk)

    def _drain(self, enough: Callable[[], bool]) -> None:
        """Read on until the console is quiet."""
        longest = time.monotonic() + DRAIN_LONGEST
        quiet = time.monotonic() + DRAIN_QUIET
        while time.monotonic() < min(quiet, longest) and not enough():
            if self._read():
                quiet = time.monotonic() + DRAIN_QUIET
            time.sleep(POLL)

    def _afterwards(self) -> None:
        """The second marker, the second snapshot, the epilogue, and whatever splat comes late.

        Nothing of it on a dead guest, nor on a kernel that has reported: what that counts now
        proves nothing.
        """
        ended = time.monotonic()
        if self._frozen or self._splat_begun:
            return
        if self._guest.life() or self._cut or (self._seen.overdue and self._case.ours):
            self._await_late(ended)
            return
        mark = Mark.of(self._guest, f"end {self._case.name} {self._nonce}")
        after = snapshot_.parse(self._ask_all(mark.command, snapshot_.COMMAND)[1])
        came = mark.end(MARKER) >= 0
        deadline = self._guest.lived() + SETTLE
        assert self._seen.before is not None
        before, own = self._seen.before, self._own
        while snapshot_.pool_drift(before, after, own=own) and self._guest.lived() < deadline:
            time.sleep(0.2)
            after = snapshot_.parse(ask(self._guest, snapshot_.COMMAND))
        self._note(
            markers=(self._seen.markers[0], came),
            after=after,
            drift=snapshot_.pool_drift(before, after, own=own),
            faults=tuple(limits.faults(self._case, before, after)),
        )
        if self._settings.coverage:  # before the epilogue, which empties pools in its own way
            counted = self._guest.run(gcov.COLLECT, timeout=gcov.LONGEST)
            self._note(coverage=counted.out if counted.status == 0 else b"")
        if own:
            self._empty_the_pool()
        self._await_late(ended)

    def _await_late(self, ended: float) -> None:
        """A splat that comes until LATE seconds after the reproducer has ``ended``."""
        rest = ended + LATE - time.monotonic()
        wait_for(lambda: self._read() and self._splat_begun, rest, interval=POLL)
        if self._splat_begun:
            self._let_speak()

    def _empty_the_pool(self) -> None:
        """The epilogue: huge pages that cannot be given back, or that are in no pool's books."""
        outside = f"{self._path} {epilogue.LEFT}" if self._case.ours else "true"
        said = self._ask_all(epilogue.COMMAND, outside, epilogue.SCANS, timeout=SHRINK)
        left = epilogue.remains(snapshot_.parse(said[0]))
        deadline = self._guest.lived() + SETTLE
        while left and self._guest.lived() < deadline:
            time.sleep(0.2)
            said[:2] = self._ask_all(epilogue.COMMAND, outside, timeout=SHRINK)
            left = epilogue.remains(snapshot_.parse(said[0]))
        if not left:
            left = tuple(
                Drift(f"huge pages outside of any pool ({name})", -1, 0, number)
                for name, number in results_.parse(said[1].encode()).counts.items()
                if number
            )
        self._note(leaks=left)
        if objects := epilogue.leaked_objects(
            ask(self._guest, epilogue.SCAN, SCAN) if said[2].strip() else ""
        ):
            told = f"{len(objects)} unreferenced objects, the first: {objects[0]}"
            self._note(faults=(*self._seen.faults, ("kmemleak", told)))

    def _finish(self) -> None:
        self._read()  # what came since the reproducer's end, before the markers and among them
        if not self._spoken:
            self._drain(lambda: not self._reader.pending and not self._guest.life())
        self._splats.extend(self._reader.finish())
        seen = self._seen
        self._note(splats=tuple(self._splats), life=tuple(self._guest.life()))
        if seen.facts is None or seen.before is None or seen.missing:
            return
        self._note(
            arming=arming(
                *(self._case, seen.facts, seen.before, seen.after),
                *(seen.boot_splats, self._splats),
                filtered=self._own,
            ),
            exercised=tuple(self._exercised(count) for count in self._case.exercised),
        )

    def _exercised(self, count: AtLeast) -> Exercised:
        seen = self._seen
        reached: int | None
        if count.source is Source.REPRODUCER:
            reached = seen.results.counts.get(count.counter)
        elif seen.before and seen.after:
            reached = snapshot_.growth(seen.before, seen.after, count.counter, count.source)
        else:
            reached = None
        return Exercised(count.counter, count.source.value, count.least, reached)
