#!/bin/sh
# The console is tested in a real browser: Debian's Chromium, installed where it is missing and may.
# Never fails: without it the browser tests fail and say so.
command -v chromium >/dev/null 2>&1 && exit 0

root=
[ "$(id -u)" = 0 ] || root="sudo -n"
if command -v apt-get >/dev/null 2>&1 && { [ -z "$root" ] || $root true 2>/dev/null; }; then
  echo "Installing Debian's chromium for the browser tests …"
  said=$({ $root apt-get update -qq && $root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends chromium fonts-liberation; } 2>&1) ||
    printf '%s\n' "$said" | tail -n 5 >&2
fi
command -v chromium >/dev/null 2>&1 ||
  echo "NO chromium on this machine: install it, or the browser tests will fail" >&2
exit 0
