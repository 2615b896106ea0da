#!/bin/sh
# A server that is cut off is tested in a network namespace: Debian's iproute2 makes it, installed
# where it is missing and may. Never fails: without it, or without root, that test is skipped and says so.
PATH=$PATH:/usr/sbin:/sbin
command -v ip >/dev/null 2>&1 && exit 0

# In a namespace only root can do anything.
[ "$(id -u)" = 0 ] && sh "$(dirname "$0")/apt_install.sh" "the test of a cut network" iproute2
command -v ip >/dev/null 2>&1 ||
  echo "NO ip (iproute2) on this machine: the test of a cut network WILL BE SKIPPED" >&2
exit 0
