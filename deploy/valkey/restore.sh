#!/bin/sh
# Makes, of a backup, a folder that Valkey starts from. Run by tests/deploy/test_backup.py.
#
#   valkey-cli -u redis://:SECRET@valkey-1:6379 --rdb quest.rdb       (back up; the server goes on)
#   deploy/valkey/restore.sh quest.rdb /var/lib/valkey                (restore; nothing may run there)
#
# A Valkey with `appendonly yes` reads no .rdb by itself: it would start empty. For the Valkey that a server
# embeds, VALKEY_SERVER names its program: docs/deploy.md.
set -eu
[ $# -eq 2 ] || { echo "usage: restore.sh BACKUP.rdb FOLDER" >&2; exit 2; }
backup=$1 folder=$2
server=${VALKEY_SERVER:-valkey-server}
cli=$(command -v valkey-cli || command -v redis-cli) || { echo "no valkey-cli here" >&2; exit 2; }
[ -s "$backup" ] || { echo "$backup: no backup" >&2; exit 1; }
[ ! -e "$folder/appendonlydir" ] || { echo "$folder holds data: move it away first" >&2; exit 1; }

mkdir -p "$folder"
scratch=$(mktemp -d)
cp "$backup" "$folder/restore.rdb"
"$server" --port 0 --unixsocket "$scratch/s" --dir "$folder" --dbfilename restore.rdb \
  --appendonly no --save '' > "$scratch/log" 2>&1 &
pid=$!
trap 'kill "$pid" 2>/dev/null || true; rm -rf "$scratch" "$folder/restore.rdb"' EXIT

ask() { "$cli" -s "$scratch/s" "$@"; }
until ask ping 2>/dev/null | grep -q PONG; do
  kill -0 "$pid" 2>/dev/null || { cat "$scratch/log" >&2; exit 1; }
  sleep 0.2
done
ask config set appendonly yes > /dev/null
until ask info persistence | tr -d '\r' | grep -q '^aof_rewrite_in_progress:0' \
  && ask info persistence | tr -d '\r' | grep -q '^aof_rewrite_scheduled:0'; do
  sleep 0.2
done
ask info persistence | tr -d '\r' | grep -q '^aof_last_bgrewrite_status:ok' \
  || { cat "$scratch/log" >&2; exit 1; }
keys=$(ask dbsize)
ask shutdown nosave > /dev/null 2>&1 || true
wait "$pid" || true
echo "$folder: $keys keys restored"
