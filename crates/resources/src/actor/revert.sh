#!/bin/sh
# Puts back what a run of Converge changed and nobody confirmed. A timer starts it, or the next boot (`boot`); it needs
# neither the controller nor the network.
#
# It lies in the folder `armed`. Who renames that folder wins: this script, or the agent that disarms. From then on it is
# `reverting`, and in the end `reverted`, or `revert-failed` where something could not be put back: that is left as it is,
# with all that was saved, and tried by nobody again. A script that was killed midway is begun again, by systemd, the next
# boot, or the next agent: all that it does may be done twice, and every copy stays until all was put back.
{
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
umask 077
later=
[ "$1" = boot ] && later=--no-block
cd "${0%/*}/.." || exit 1
mv -T armed reverting 2>/dev/null || [ -d reverting ] || exit 0
cd reverting || exit 1
# One at a time; who had to wait finds the folder renamed.
exec 9<revert
flock 9 && [ . -ef ../reverting ] || exit 0
exec >>log 2>&1
failed=

bad() { echo "failed to put back $1"; failed=1; }
owned() { chown "$1" "$3" && chmod "$2" "$3"; }
place() { mv -fT "$1" "$2" || { rm -f "$1"; false; }; }

# file COPY OWNER MODE PATH
file() { t=${4%/*}/.converge-revert; rm -f "$t"; { cp -a "$1" "$t" && owned "$2" "$3" "$t" && place "$t" "$4"; } || bad "$4"; }
# link TARGET OWNER PATH
link() { t=${3%/*}/.converge-revert; rm -f "$t"; { ln -s "$1" "$t" && chown -h "$2" "$t" && place "$t" "$3"; } || bad "$3"; }
# folder OWNER MODE PATH
folder() { { [ -d "$3" ] || mkdir "$3"; } && owned "$1" "$2" "$3" || bad "$3"; }
# dress OWNER MODE PATH: what stayed, with another owner or mode
dress() { if [ -L "$3" ]; then chown -h "$1" "$3"; else owned "$1" "$2" "$3"; fi || bad "$3"; }
# gone PATH: nothing was there; a folder that somebody uses by now stays
gone() { if [ -d "$1" ] && [ ! -L "$1" ]; then rmdir "$1" || [ -n "$(ls -A "$1")" ]; else rm -f "$1"; fi || bad "$1"; }
# kernel COPY PATH
kernel() { cat "$1" >"$2" || bad "$2"; }
# unit WORD… UNIT: at boot nobody waits, for this runs before other units do
unit() { systemctl $later "$@" || bad "the unit: systemctl $*"; }
# run INPUT WORD…
run() { i=$1; shift; "$@" <"$i" || bad "what $1 changed"; }
# again WORD…: what was told of the new state is told of the old one; at boot nobody was told yet
again() { [ -n "$later" ] || "$@"; }

. ./back
sync
cd ..
rm -rf reverted
if [ -z "$failed" ]; then mv -T reverting reverted && rm -f reverted/[0-9]*; else mv -T reverting revert-failed; fi
exit
}
