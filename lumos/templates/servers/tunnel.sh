{% autoescape off %}#!/bin/sh
# Connects this machine to the shields of its account by WireGuard. As root:
#   curl -fsSL <dashboard>/tunnel | sudo LUMOS_TUNNEL_TOKEN=lmtj_… sh
# The private key is made here and stays here. Written are /etc/lumos-tunnel, /usr/local/sbin/lumos-tunnel, and a timer
# that asks the dashboard for changes once a minute. Nothing of this machine's own network or firewall changes.
# Running it again with a new command joins again; `lumos-tunnel uninstall` takes everything back.
set -eu
umask 077

dashboard={{ dashboard }}
folder=/etc/lumos-tunnel
program=/usr/local/sbin/lumos-tunnel
join_token=${LUMOS_TUNNEL_TOKEN:-}
unset LUMOS_TUNNEL_TOKEN

say() { printf '==> %s\n' "$*"; }
fail() { printf 'lumos: %s\n' "$*" >&2; exit 1; }

require_system() {
  [ "$(id -u)" = 0 ] || fail "this makes a network interface; run it as root: … | sudo LUMOS_TUNNEL_TOKEN=… sh"
  case $join_token in
    lmtj_*) ;;
    *) fail "take the whole line from the dashboard: it sets LUMOS_TUNNEL_TOKEN to a token that begins with lmtj_" ;;
  esac
  missing=
  for tool in wg ip curl flock; do command -v "$tool" >/dev/null || missing="$missing $tool"; done
  [ -n "$missing" ] || return 0
  say "Installing what has$missing"
  if command -v apt-get >/dev/null; then
    apt-get update -qq </dev/null && apt-get install -y -qq wireguard-tools iproute2 curl util-linux </dev/null >/dev/null
  elif command -v dnf >/dev/null; then
    dnf install -y -q wireguard-tools iproute curl util-linux </dev/null >/dev/null
  elif command -v apk >/dev/null; then
    apk add -q wireguard-tools-wg iproute2 curl flock </dev/null
  fi
  for tool in wg ip curl flock; do
    command -v "$tool" >/dev/null || fail "$tool is missing; install wireguard-tools, iproute2 and curl, then try again"
  done
}

make_secrets() {
  mkdir -p "$folder"
  [ -s "$folder/private.key" ] || wg genkey >"$folder/private.key"
  token=lmto_$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
}

join() {
  say "Joining at $dashboard"
  printf 'Authorization: Bearer %s\n' "$join_token" >"$folder/joining"
  printf '%s' "$token" >"$folder/token.new"
  code=$(curl -sS --max-time 30 -H "@$folder/joining" --data-urlencode "public_key=$(wg pubkey <"$folder/private.key")" \
    --data-urlencode "token@$folder/token.new" -o "$folder/answer" -w '%{http_code}' "$dashboard/tunnel/v1/join") \
    || fail "cannot reach $dashboard"
  rm -f "$folder/joining" "$folder/token.new"
  [ "$code" = 200 ] || fail "$(cat "$folder/answer")"
  printf 'Authorization: Bearer %s\n' "$token" >"$folder/authorization"
  printf '%s\n' "$dashboard" >"$folder/dashboard"
  mv "$folder/answer" "$folder/tunnel.conf"
}

write_program() {
  cat >"$program" <<'PROGRAM'
#!/bin/sh
# This machine's tunnels to its shields: up, refresh (once a minute), rotate (another key), status, uninstall.
set -eu
umask 077
PATH=$PATH:/usr/sbin:/sbin
folder=/etc/lumos-tunnel
name=lumos0

fail() { printf 'lumos-tunnel: %s\n' "$*" >&2; exit 1; }

# Sets $folder/answer; the token is in a file, so that no list of processes shows it.
ask() {
  path=$1
  shift
  code=$(curl -sS --max-time 30 -H "@$folder/authorization" -o "$folder/answer" -w '%{http_code}' "$@" \
    "$(cat "$folder/dashboard")$path") || return 1
  [ "$code" = 200 ] || fail "$(cat "$folder/answer")"
}

make_interface() {
  wg show "$name" >/dev/null 2>&1 && return 0
  ip link delete dev "$name" 2>/dev/null || true
  ip link add dev "$name" type wireguard 2>/dev/null && return 0
  command -v wireguard-go >/dev/null || fail "the kernel has no WireGuard: modprobe wireguard, or install wireguard-go"
  wireguard-go "$name" >/dev/null 2>&1 9>&- || fail "wireguard-go does not start; is there /dev/net/tun?"
}

up() {
  make_interface
  {
    printf '[Interface]\nPrivateKey = %s\n' "$(cat "$folder/private.key")"
    sed -e '/^\[Interface\]/d' -e '/^Address = /d' -e '/^MTU = /d' "$folder/tunnel.conf"
  } >"$folder/wg.conf"
  wg syncconf "$name" "$folder/wg.conf"
  rm -f "$folder/wg.conf"
  ip link set dev "$name" mtu "$(sed -n 's/^MTU = //p' "$folder/tunnel.conf")" up
  addresses=" $(sed -n 's/^Address = //p' "$folder/tunnel.conf" | tr -d ',') "
  for address in $addresses; do ip address replace "$address" dev "$name"; done
  ip -o -4 address show dev "$name" | while read -r _ _ _ address _; do
    case $addresses in *" $address "*) ;; *) ip address delete "$address" dev "$name" ;; esac
  done
  routes=" $(sed -n 's/^# Route = \([0-9./]*\) .*/\1/p' "$folder/tunnel.conf" | tr '\n' ' ')"
  sed -n 's/^# Route = //p' "$folder/tunnel.conf" | while read -r shield _ own; do
    ip route replace "$shield" dev "$name" src "$own"
  done
  ip -o -4 route show dev "$name" | while read -r shield _; do
    case $routes in *" ${shield%/32}/32 "*) ;; *) ip route delete "$shield" dev "$name" ;; esac
  done
}

refresh() {
  wg show "$name" >/dev/null 2>&1 || up
  ask /tunnel/v1/configuration || exit 0
  grep -q '^\[Interface\]$' "$folder/answer" || fail "this is no configuration of a tunnel"
  if grep -q '^# A new key is wanted\.$' "$folder/answer"; then rotate; return; fi
  if ! cmp -s "$folder/answer" "$folder/tunnel.conf"; then
    mv "$folder/answer" "$folder/tunnel.conf"
    up
  fi
}

rotate() {
  [ -s "$folder/new.key" ] || wg genkey >"$folder/new.key"
  tries=0
  until ask /tunnel/v1/key --data-urlencode "public_key=$(wg pubkey <"$folder/new.key")" \
    && [ "$(cat "$folder/answer")" = ready ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 30 ] || fail "the shields do not know the new key yet; the old one stays, try again later"
    sleep 1
  done
  mv "$folder/new.key" "$folder/private.key"
  wg set "$name" private-key "$folder/private.key"
  for shield in $(sed -n 's/^AllowedIPs = \(.*\)\/32$/\1/p' "$folder/tunnel.conf"); do
    ping -c 1 -W 1 "$shield" >/dev/null 2>&1 &
  done
  wait
  ask /tunnel/v1/configuration && mv "$folder/answer" "$folder/tunnel.conf"
  up
}

uninstall() {
  if [ -d /run/systemd/system ]; then
    systemctl disable --now lumos-tunnel.timer lumos-tunnel.service 2>/dev/null || true
  fi
  ip link delete dev "$name" 2>/dev/null || true
  rm -f /etc/systemd/system/lumos-tunnel.service /etc/systemd/system/lumos-tunnel-refresh.service \
    /etc/systemd/system/lumos-tunnel.timer /etc/cron.d/lumos-tunnel /usr/local/sbin/lumos-tunnel
  rm -rf "$folder"
}

[ "$(id -u)" = 0 ] || fail "run it as root"
[ -d "$folder" ] || fail "this machine has not joined"
exec 9>"$folder/lock"
flock 9
case ${1:-} in
  up | refresh | rotate | uninstall) "$1" ;;
  status) wg show "$name" ;;
  *) fail "up, refresh, rotate, status or uninstall?" ;;
esac
PROGRAM
  chmod 755 "$program"
}

start() {
  if [ -d /run/systemd/system ]; then
    start_with_systemd
  elif [ -d /etc/cron.d ]; then
    printf '* * * * * root %s refresh >/dev/null 2>&1\n' "$program" >/etc/cron.d/lumos-tunnel
    chmod 644 /etc/cron.d/lumos-tunnel
    "$program" up
  else
    "$program" up
    say "There is neither systemd nor cron: call \`lumos-tunnel refresh\` at boot and once a minute yourself"
  fi
}

start_with_systemd() {
  cat >/etc/systemd/system/lumos-tunnel.service <<UNIT
[Unit]
Description=Tunnels to Lumos shields
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=$program up
KillMode=process

[Install]
WantedBy=multi-user.target
UNIT
  cat >/etc/systemd/system/lumos-tunnel-refresh.service <<UNIT
[Unit]
Description=Ask Lumos for changes of the tunnels

[Service]
Type=oneshot
ExecStart=$program refresh
KillMode=process
UNIT
  cat >/etc/systemd/system/lumos-tunnel.timer <<UNIT
[Unit]
Description=Ask Lumos for changes of the tunnels once a minute

[Timer]
OnActiveSec=10
OnUnitActiveSec=60
AccuracySec=5
Unit=lumos-tunnel-refresh.service

[Install]
WantedBy=timers.target
UNIT
  chmod 644 /etc/systemd/system/lumos-tunnel.service /etc/systemd/system/lumos-tunnel-refresh.service \
    /etc/systemd/system/lumos-tunnel.timer
  systemctl daemon-reload
  systemctl enable -q --now lumos-tunnel.service lumos-tunnel.timer
}

require_system
make_secrets
join
write_program
start
say "Connected. \`lumos-tunnel status\` shows the shields; the dashboard shows this machine within seconds."
{% endautoescape %}
