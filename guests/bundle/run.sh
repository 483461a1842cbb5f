#!/bin/sh
# Repeats one trial in QEMU.  Exit status: 1 the kernel reported something, 0 it was
# quiet to the end, 125 it did not come to its end, 3 QEMU did not start.
set -u
cd "$(dirname "$0")" || exit 3
expected=@expected@
race=@race@
limit=@limit@

command -v qemu-system-x86_64 >/dev/null || {
	echo "qemu-system-x86_64 is needed" >&2
	exit 3
}
# As it was run; ACCEL=kvm or ACCEL=tcg says otherwise.
case ${ACCEL:-@accel@} in
	kvm) accel=kvm cpu=host ;;
	*) accel=tcg,thread=multi cpu=max,-erms ;;
esac
if [ $accel = kvm ] && [ ! -w /dev/kvm ]; then
	accel=tcg,thread=multi cpu=max,-erms
fi

rm -f console.new results.new
@qemu@ 2>qemu.log &
qemu=$!
trap 'kill $qemu 2>/dev/null' EXIT INT TERM

# A report counts when it comes behind the first marker: what the boot says is its own.
reports='BUG: |WARNING: |KASAN: |Oops|general protection fault|Kernel panic|INFO: task .* blocked|circular locking|bad page state|refcount_t: '
seen() { sed -n '/harness: begin/,$p' console.new 2>/dev/null | tr -d '\r' | grep -aE "$reports"; }
# A report's first line without what differs from boot to boot: time, offsets, numbers.
head_of() { printf '%s\n' "$1" | sed 's/^.*\] *//; s/+0x[0-9a-f/x]*//g; s/[0-9][0-9a-fx]*/N/g'; }

waited=0 first=
while kill -0 $qemu 2>/dev/null && [ $waited -lt $limit ]; do
	sleep 1
	waited=$((waited + 1))
	if seen >/dev/null; then
		sleep 5 # let it finish its report; a race that is lost prints without end
		break
	fi
done
kill $qemu 2>/dev/null
wait $qemu 2>/dev/null

[ -s console.new ] || {
	echo "QEMU did not start:" >&2
	cat qemu.log >&2
	exit 3
}
echo "console: $(pwd)/console.new"
if [ -s results.new ]; then
	echo "the reproducer said last:"
	tr -d '\r' <results.new | grep -a '^@' | tail -6 | sed 's/^/  /'
fi
first=$(seen | head -n 1)
if [ -n "$first" ]; then
	echo "the kernel reported: $first"
	if [ -z "$expected" ]; then
		echo "nothing was expected: the trial had no report"
	elif [ "$(head_of "$first")" = "$(head_of "$expected")" ]; then
		echo "as expected"
	else
		echo "expected was:        $expected"
		[ -z "$race" ] || echo "one race shows under many heads ($race): another one counts too"
	fi
	exit 1
fi
if grep -aq 'harness: end' console.new; then
	echo "quiet to the end"
	exit 0
fi
echo "it did not come to its end within $waited s"
exit 125
