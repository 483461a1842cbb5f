"""What can go wrong that is not a verdict about a kernel.

    HarnessError
     +-- UsageError          exit 2: a person can mend it (a file, a key, an option, a patch)
     |    +-- SpecError      a declaration is wrong; names file, line, key, and what was expected
     |    +-- PatchError     a patch does not apply; names the patch and the file in it
     |    +-- CompileError   a reproducer or a kernel source does not compile; names the file
     +-- EnvironmentFault    exit 3: the host lacks something (a tool, memory, disk, network)
          +-- BootError      a guest did not come up; carries what its console said
          +-- GuestLost      a guest that was up cannot be talked to any more

A kernel that fails a test is a *verdict*, never an exception.
"""

from __future__ import annotations


class HarnessError(Exception):
    """Root of all: what happened, where, and what to do about it.

    ``hint`` is the command or the change that mends it, where one is known.
    """

    exit_code = 3

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n  -> {self.hint}" if self.hint else self.what


class UsageError(HarnessError):
    """Something that the person who called can mend."""

    exit_code = 2


class SpecError(UsageError):
    """A declaration that cannot be read as what it should be."""


class PatchError(UsageError):
    """A patch that does not apply."""


class CompileError(UsageError):
    """Source that does not compile: a reproducer, or a kernel with its patches."""


class EnvironmentFault(HarnessError):
    """The host, not the person and not the kernel under test."""

    exit_code = 3


class BootError(EnvironmentFault):
    """The guest never became ready."""


class GuestLost(EnvironmentFault):
    """The guest was ready once and cannot be reached any more."""
