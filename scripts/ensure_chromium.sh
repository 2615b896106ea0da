#!/bin/sh
# The console is tested in a real browser: Debian's Chromium, installed where it is missing and may.
# Never fails: without it the browser tests fail and say so.
command -v chromium >/dev/null 2>&1 && exit 0

sh "$(dirname "$0")/apt_install.sh" "the browser tests" chromium fonts-liberation
command -v chromium >/dev/null 2>&1 ||
  echo "NO chromium on this machine: install it, or the browser tests will fail" >&2
exit 0
