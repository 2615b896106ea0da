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

sh "$(dirname "$0")/apt_install.sh" "what is compiled" gcc libc6-dev python3-dev
can_compile ||
  echo "NO C compiler with Python's headers here: install them, or tests of what is compiled will fail" >&2
exit 0
