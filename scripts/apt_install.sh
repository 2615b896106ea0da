#!/bin/sh
# apt_install.sh "the browser tests" PACKAGE...: Debian's packages, where they may be installed.
# Never fails: whoever calls it looks for what it wanted, and says what is missing.
purpose=$1
shift
root=
[ "$(id -u)" = 0 ] || root="sudo -n"
if command -v apt-get >/dev/null 2>&1 && { [ -z "$root" ] || $root true 2>/dev/null; }; then
  echo "Installing Debian's $* for $purpose …"
  said=$({ $root apt-get update -qq && $root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@"; } 2>&1) ||
    printf '%s\n' "$said" | tail -n 5 >&2
fi
exit 0
