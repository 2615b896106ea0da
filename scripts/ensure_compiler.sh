#!/bin/sh
# What is compiled while installing is tested, too: Debian's gcc with Python's headers, installed
# where they are missing and may. Never fails: without them the tests of it fail and say so.
PYTHON=${PYTHON:-python3}
can_compile() {
  command -v "${CC:-cc}" >/dev/null 2>&1 && "$PYTHON" -c '
import pathlib, sys, sysconfig
sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())'
}
can_compile && exit 0

root=
[ "$(id -u)" = 0 ] || root="sudo -n"
if command -v apt-get >/dev/null 2>&1 && { [ -z "$root" ] || $root true 2>/dev/null; }; then
  echo "Installing Debian's gcc and python3-dev for what is compiled …"
  said=$({ $root apt-get update -qq && $root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends gcc libc6-dev python3-dev; } 2>&1) ||
    printf '%s\n' "$said" | tail -n 5 >&2
fi
can_compile ||
  echo "NO C compiler with Python's headers here: install them, or tests of what is compiled will fail" >&2
exit 0
