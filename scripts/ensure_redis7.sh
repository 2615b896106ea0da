#!/bin/sh
# The state store is tested against Redis 7 too: Debian's redis-server, where it can be installed.
# Never fails: without it those tests are skipped, and say so.
have() { command -v "$1" >/dev/null 2>&1; }
have redis-server && exit 0

root=
[ "$(id -u)" = 0 ] || root="sudo -n"
if have apt-get && { [ -z "$root" ] || $root true 2>/dev/null; }; then
  echo "Installing Debian's redis-server for the Redis 7 tests …"
  # Only the program: a policy of 101 keeps the package from starting a service.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap '$root rm -f "$policy"' EXIT
    trap 'exit 0' INT TERM
    printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null && $root chmod +x "$policy"
  fi
  said=$({ $root apt-get update -qq && $root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends redis-server; } 2>&1) ||
    printf '%s\n' "$said" | tail -n 5 >&2
fi
have redis-server || cat >&2 <<'END'
******************************************************************
NO redis-server on this machine: the Redis 7 tests WILL BE SKIPPED
******************************************************************
END
exit 0
