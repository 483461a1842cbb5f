"""What consoles are full of, and what is no report: firmware, boots, service managers, tests."""

from __future__ import annotations

import pytest

from harness.splat.reader import read
from tests.test_splat_reader import console

# Printed by the kernel, with its prefix.
KERNEL = """\
Linux version 6.1.0 (made up) (gcc (Debian 12.2.0) 12.2.0, GNU ld 2.40) #1 SMP PREEMPT_DYNAMIC
Command line: console=ttyS0 panic=1 oops=panic panic_on_warn=1 hung_task_panic=1
[Firmware Bug]: TSC doesn't count with P0 frequency!
[Firmware Warn]: GHES: Poll interval is 0 for generic hardware error source: 1, disabled.
ACPI BIOS Error (bug): Could not resolve symbol [\\_SB.PCI0.MADE], AE_NOT_FOUND
ACPI Warning: SystemIO range conflicts with OpRegion (20220331/utaddress-204)
Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on, data leaks possible
MMIO Stale Data CPU bug present and SMT on, data leak possible.
MDS: Vulnerable: Clear CPU buffers attempted, no microcode
x86/fpu: Supporting XSAVE feature 0x001: 'x87 floating point registers'
** NOTICE NOTICE NOTICE NOTICE NOTICE NOTICE NOTICE NOTICE NOTICE **
** This means that this kernel is built with debugging on. **
rcu: RCU lockdep checking is enabled.
rcu: INFO: Stall ended before state dump start
INFO: lockdep is turned off.
INFO: NMI handler (perf_event_nmi_handler) took too long to run: 1.3 msecs
perf: interrupt took too long (2520 > 2500), lowering kernel.perf_event_max_sample_rate to 79000
Kernel/User page tables isolation: enabled
kasan: KernelAddressSanitizer initialized
kmemleak: Kernel memory leak detector initialized (mem pool available: 15679)
ODEBUG: 12 of 12 active objects replaced
debug: unmapping init [mem 0xffffffff82a00000-0xffffffff82bfffff]
Lockdep selftests: Good, all 360 testcases passed!
EXT4-fs (vda1): INFO: recovery required on readonly filesystem
EXT4-fs warning (device vda1): ext4_multi_mount_protect:328: MMP interval 42 higher than expected
EXT4-fs error (device loop0): ext4_lookup:1855: inode #2: comm shuffle: deleted inode referenced: 12
XFS (loop0): Mounting V5 Filesystem
JBD2: recovery failed
BTRFS warning (device loop0): csum failed root 5 ino 257 off 0 csum 0x8941f998
FAT-fs (loop0): Volume was not properly unmounted. Some data may be corrupt. Please run fsck.
Buffer I/O error on dev loop0, logical block 0, async page read
systemd[1]: Started Journal Service.
systemd[1]: /lib/systemd/system/made-up.service:9: WARNING: Unknown key name in section 'Service'
systemd[1]: made-up.service: Main process exited, code=killed, status=11/SEGV
systemd-journald[123]: Failed to open runtime journal: WARNING: corrupted or uncleanly shut down
cloud-init[345]: WARNING: CPU: 0 PID: 1 at made/up.c:12 f+0x1/0x2
traps: shuffle[321] general protection fault ip:401000 sp:7ffc0 error:0 in shuffle[400000+1000]
traps: shuffle[322] trap divide error ip:401136 sp:7ffd error:0 in shuffle[401000+1000]
traps: shuffle[323] trap invalid opcode ip:401136 sp:7ffd error:0 in shuffle[401000+1000]
traps: shuffle[324] trap stack segment ip:401136 sp:7ffd error:0 in shuffle[401000+1000]
traps: shuffle[325] trap int3 ip:401136 sp:7ffd error:0
shuffle[321]: segfault at 0 ip 0000000000401000 sp 00007ffc0 error 4 in shuffle[400000+1000]
shuffle: page allocation failure: order:9, mode:0xcc0(GFP_KERNEL), nodemask=(null)
shuffle (321): drop_caches: 3
shuffle (321) used greatest stack depth: 11288 bytes left
process 'shuffle' launched '/dev/fd/3' with NULL argv: empty string added
mmap: shuffle (321): VmData 4096 exceed data ulimit 0. Update limits or use boot option
hugetlbfs: shuffle (321): Using mlock ulimits for SHM_HUGETLB is obsolete
HugeTLB: registered 2.00 MiB page size, pre-allocated 0 pages
Injecting memory failure for pfn 0x1a2b3 at process virtual address 0x7f0000000000
Memory failure: 0x1a2b3: recovery action for huge page: Recovered
Soft offlining pfn 0x1a2b3 at process virtual address 0x7f0000000000
soft offline: 0x1a2b3: hugepage isolation failed, page count 2, type 0x17ffffc0010001
migrating pfn 1a2b3 failed ret:1
page:00000000a1b2c3d4 refcount:2 mapcount:0 mapping:0000000000000000 index:0x0 pfn:0x1a2b3
page dumped because: migration failure
FAULT_INJECTION: forcing a failure.
audit: type=1326 audit(1700000000.123:84): auid=1000 uid=1000 gid=1000 comm="shuffle" sig=31
LTP: starting move_pages12
harness: begin anon_fork_migrate 12ab34cd
watchdog: Delayed init of the lockup detector failed: -19
workqueue: WARNING: made_up_workfn hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND
sysrq: Show Blocked State
sysrq: HELP : loglevel(0-9) reboot(b) crash(c) terminate-all-tasks(e)
reboot: Power down
""".splitlines()

# Printed by programs and by firmware, on consoles with and without a kernel that prefixes.
OTHERS = """\
SeaBIOS (version 1.16.2-debian-1.16.2-1)
iPXE (https://ipxe.org) 00:03.0 CA00 PCI2.10 PnP PMM+3EFD0C80+3EF30C80 CA00
BdsDxe: failed to load Boot0001 "UEFI QEMU HARDDISK" from PciRoot(0x0): Not Found
NOTICE:  BL31: v2.8(release):v2.8
WARNING: BL31: OPTEE image not provided by BL2 boot loader, Booting device without OPTEE
INFO:    BL31: Initializing runtime services
ERROR:   Error initializing runtime service opteed_fast
U-Boot 2023.01 (Jan 09 2023 - 16:07:33 +0000)
WARNING: at least one of the environment variables is not set
[  OK  ] Started made-up.service - A service that is made up.
[FAILED] Failed to start made-up.service - A service that is made up.
         Starting modprobe@drm.service - Load Kernel Module drm...
[   *** ] A start job is running for /dev/vda2 (12s / 1min 30s)
move_pages12.c:190: TINFO: Free RAM 1902452 kB
move_pages12.c:239: TPASS: Bug not reproduced
tst_test.c:1560: TINFO: Timeout per run is 0h 05m 00s
tst_test.c:1618: TWARN: Test killed by SIGSEGV!
tst_kconfig.c:88: TINFO: Parsing kernel config '/proc/config.gz'
HINT: You _MAY_ be missing kernel fixes:
<<<test_start>>>
tag=madvise06 stime=1700000000
cmdline="madvise06"
INFO: ltp-pan reported some tests FAIL
INFO: Test start time: Tue Nov 24 13:50:30 UTC 2026
WARNING: this test needs CONFIG_MADE_UP, and the kernel has it not
BUG: test case 3 is known to be flaky, its result is ignored
BUG_ON is not a function of this shell
TAP version 13
# selftests: mm: hugetlb_fault_after_madv.sh
# WARNING: This test needs 3 huge pages. Reserving them.
# [INFO] detected hugetlb page size: 2048 KiB
ok 12 selftests: mm: hugetlb_fault_after_madv.sh
not ok 13 selftests: mm: ksm_tests -M # exit=1
# general protection fault, as this test wants it, came
1..5
KTAP version 1
    # Subtest: kasan
    ok 1 kmalloc_oob_right
WARNING:
  The following signatures could not be verified
INFO:
  nothing to be done
Killed
Segmentation fault (core dumped)
Out of memory (malloc failed for 4096 bytes)
*** stack smashing detected ***: terminated
malloc(): corrupted top size
double free or corruption (out)
ERROR: AddressSanitizer: heap-use-after-free on address 0x602000000010 at pc 0x000000401234
==321==ERROR: LeakSanitizer: detected memory leaks
    #0 0x401136 in main /made/up.c:12
Traceback (most recent call last):
panic: runtime error: index out of range [5] with length 3
goroutine 1 [running]:
thread 'main' panicked at 'made up', src/main.rs:2:5
Oops, that was the wrong key
Welcome to Debian GNU/Linux 12 (bookworm)!
guest login: root (automatic login)
""".splitlines()


def test_a_boot_and_its_noise_are_no_report() -> None:
    found = read(b"".join(console(tuple(KERNEL), "T1", 1.0)))
    assert [splat.title for splat in found] == []


@pytest.mark.parametrize("prefixed", [True, False])
def test_what_others_print_is_no_report(prefixed: bool) -> None:
    kernel = console(tuple(KERNEL[:3]), "T0", 0.0) if prefixed else []
    text = b"".join([*kernel, *(f"{line}\n".encode() for line in OTHERS)])
    assert [splat.title for splat in read(text)] == []


def test_programs_that_print_in_mid_line() -> None:
    lines = console(tuple(KERNEL), "T1", 1.0)
    mixed = [f"{other} ".encode() + line for other, line in zip(OTHERS, lines, strict=False)]
    assert [splat.title for splat in read(b"".join(mixed))] == []


@pytest.mark.parametrize("line", ["BUG: made up trouble", "INFO:", "WARNING:"])
def test_a_word_that_any_program_may_print(line: str) -> None:
    stamped = console((line, "eth0: up"))
    assert len(read(b"".join(stamped))) == 1
    assert read(f"{line}\nmore text\n".encode()) == []


@pytest.mark.parametrize("word", ["INFO:", "BUG:"])
def test_the_last_word_of_a_console(word: str) -> None:
    (splat,) = read(f"text\n{word}\n\n".encode())
    assert splat.corrupted
