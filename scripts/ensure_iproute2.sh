#!/bin/sh
# A server that is cut off is tested in a network namespace: Debian's iproute2 makes it, installed
# where it is missing and may. Never fails: without it, or without root, that test is skipped and says so.
PATH=$PATH:/usr/sbin:/sbin
command -v ip >/dev/null 2>&1 && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "Installing Debian's iproute2 for the test of a cut network …"
  said=$({ apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends iproute2; } 2>&1) ||
    printf '%s\n' "$said" | tail -n 5 >&2
fi
command -v ip >/dev/null 2>&1 ||
  echo "NO ip (iproute2) on this machine: the test of a cut network WILL BE SKIPPED" >&2
exit 0
