#!/bin/busybox sh
# What a guest of a bundle does when it is up: the reproducer, between two markers on
# the console.  Its results go out by the second serial port.
export PATH=/sbin:/bin HOME=/root
exec </dev/null >/dev/ttyS1 2>&1

@arrange@
cd /tmp
echo "harness: begin @case@" >/dev/kmsg
@command@ &
reproducer=$!
( sleep $((@seconds@ + 45)); kill -9 $reproducer ) 2>/dev/null &
wait $reproducer
echo "@ status $?"
sleep 2
echo "harness: end @case@" >/dev/kmsg
sync
poweroff -f
