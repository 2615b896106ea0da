#!/bin/sh
# The state store is tested against Redis 7 too: Debian's redis-server, where it can be installed.
command -v redis-server >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "Installing Debian's redis-server for the Redis 7 tests …"
  # Only the program: a policy of 101 keeps the package from starting a service.
  policy=/usr/sbin/policy-rc.d
  made=
  [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && made=1; }
  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server) >/dev/null 2>&1
  [ -z "$made" ] || rm -f "$policy"
fi
command -v redis-server >/dev/null 2>&1 || echo "NO redis-server: the Redis 7 tests WILL BE SKIPPED"
exit 0
