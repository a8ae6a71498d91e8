{% autoescape off %}#!/bin/sh
# Installs the Lumos agent on this shield. As root:
#   curl -fsSL <dashboard>/install | LUMOS_TOKEN=lmst_… sh
#   curl -fsSL <dashboard>/install | sh -s -- --token lmst_…
# Running it again upgrades the agent; the sites stay online. `lumos-agent uninstall` takes everything back.
set -eu
umask 022

dashboard={{ dashboard }}
gateway={{ gateway }}
wheel={{ wheel }}
sha256={{ sha256 }}
prefix=/opt/lumos/agent
token=${LUMOS_TOKEN:-}
unset LUMOS_TOKEN

say() { printf '==> %s\n' "$*"; }
fail() { printf 'lumos: %s\n' "$*" >&2; exit 1; }

read_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      --token) [ $# -gt 1 ] || fail "--token needs the token that the dashboard shows"; token=$2; shift ;;
      --token=*) token=${1#--token=} ;;
      *) fail "unknown argument $1; the only one is --token" ;;
    esac
    shift
  done
  case $token in
    '' | lmst_*) ;;
    *) fail "this is not a server token; it begins with lmst_ and the dashboard shows it when a server is added" ;;
  esac
}

require_system() {
  system=$(. /etc/os-release 2>/dev/null && echo "${ID:-} ${VERSION_ID:-}") || system=
  case $system in
    'debian 12' | 'debian 13' | 'ubuntu 24.04') ;;
    *) fail "this system is '${system:-unknown}'; Lumos runs on Debian 12, Debian 13 and Ubuntu 24.04" ;;
  esac
  [ "$(id -u)" = 0 ] || fail "this installs packages and a service; run it as root: … | sudo LUMOS_TOKEN=… sh"
}

install_packages() {
  missing=
  packages='haproxy python3-venv curl ca-certificates iproute2 nftables conntrack knot knot-module-geoip wireguard-tools'
  [ -d /sys/module/wireguard ] || modprobe -q wireguard 2>/dev/null || packages="$packages wireguard-go"
  for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  say "Installing$missing"
  apt-get update -qq </dev/null || fail "apt-get update failed; is the network up?"
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing </dev/null >/dev/null \
    || fail "apt-get could not install:$missing"
}

fetch_wheel() {
  say "Fetching $wheel"
  curl -fsSL --retry 3 -o "$folder/$wheel" "$dashboard/install/$wheel" || fail "cannot fetch $dashboard/install/$wheel"
  echo "$sha256  $folder/$wheel" | sha256sum -c --status \
    || fail "the checksum of $wheel is not the one that $dashboard/install gave; nothing was installed, try again"
}

install_agent() {
  if [ -x "$prefix/bin/lumos-agent" ]; then
    say "Upgrading the agent in $prefix"
    "$prefix/bin/lumos-agent" upgrade --wheel "$folder/$wheel" --sha256 "$sha256"
  else
    say "Installing the agent in $prefix"
    python3 -m venv "$prefix"
    "$prefix/bin/python" -m pip install -q --disable-pip-version-check "$folder/$wheel" \
      || fail "pip could not install the agent; is the package index reachable?"
  fi
  say "Preparing this machine"
  "$prefix/bin/lumos-agent" edge-setup --dashboard "$dashboard"
}

start_agent() {
  if [ -n "$token" ]; then
    say "Connecting to $gateway"
    LUMOS_TOKEN=$token "$prefix/bin/lumos-agent" enroll --url "$gateway"
  elif [ ! -e /var/lib/lumos/agent.json ]; then
    say "Installed. Add a server at $dashboard/servers and run this again with its token."
    return 0
  fi
  systemctl --quiet enable lumos-agent
  [ -d /run/systemd/system ] || { say "systemd does not run here; the agent starts with the machine."; return 0; }
  systemctl restart lumos-agent
  say "The agent runs. See it: lumos-agent status"
}

# All of it in a function: a download that breaks off runs nothing.
main() {
  read_arguments "$@"
  require_system
  install_packages
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  trap 'exit 130' INT TERM
  fetch_wheel
  install_agent
  start_agent
}

main "$@"
{% endautoescape %}
