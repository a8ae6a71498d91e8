"""The script that closes an origin's ports to everybody but its shields. Pure text; the origin's owner runs it."""

import re
from collections.abc import Iterable
from typing import Literal

from lumos.errors import InvalidInput

Kind = Literal["nftables", "ufw"]
PORTS_MAX = 20
_SSH = 22

_HEAD = """\
#!/bin/sh
# Lets nobody but the shields reach TCP {ports} of this machine: what comes through its tunnels, and itself.
# `sh this-file undo` takes it back. Every other port stays as it is; one on which sshd listens is refused.
set -eu
PATH=$PATH:/usr/sbin:/sbin
[ "$(id -u)" = 0 ] || {{ echo "run it as root" >&2; exit 1; }}
here=${{SSH_CONNECTION:-}}
ssh_ports=" $({{ sshd -T 2>/dev/null || true; }} | sed -n 's/^port //p' | tr '\\n' ' ')${{here##* }} "
for port in {words}; do
  case $ssh_ports in *" $port "*) echo "sshd listens on $port; this would lock you out" >&2; exit 1 ;; esac
done
"""

_NFTABLES = """
file=/etc/nftables-lumos-origin.nft
unit=/etc/systemd/system/lumos-origin-firewall.service
if [ "${{1:-}}" = undo ]; then
  if [ -d /run/systemd/system ]; then systemctl disable -q --now lumos-origin-firewall.service 2>/dev/null || true; fi
  nft delete table inet lumos_origin 2>/dev/null || true
  rm -f "$file" "$unit"
  exit 0
fi
cat >"$file" <<'RULES'
table inet lumos_origin
delete table inet lumos_origin
table inet lumos_origin {{
  set shields {{
    type ipv4_addr
    elements = {{ {shields} }}
  }}
  chain input {{
    type filter hook input priority filter - 5; policy accept;
    iifname "lo" accept
    iifname "lumos0" ip saddr @shields accept
    tcp dport {{ {ports} }} drop
  }}
  chain forward {{
    # Ports that containers publish never reach the chain above.
    type filter hook forward priority filter - 5; policy accept;
    iifname "lumos0" ip saddr @shields accept
    iifname "docker*" accept
    iifname "br-*" accept
    iifname "podman*" accept
    meta l4proto tcp ct status dnat ct direction original ct original proto-dst {{ {ports} }} drop
  }}
}}
RULES
nft -c -f "$file"
nft -f "$file"
if [ -d /run/systemd/system ]; then
  cat >"$unit" <<UNIT
[Unit]
Description=Ports of this origin are for its Lumos shields alone
After=nftables.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=$(command -v nft) -f $file

[Install]
WantedBy=multi-user.target
UNIT
  systemctl daemon-reload
  systemctl enable -q lumos-origin-firewall.service
else
  echo "There is no systemd: run \\`nft -f $file\\` at boot yourself"
fi
"""

_UFW = """
command -v ufw >/dev/null || {{ echo "ufw is not installed; take the nftables form" >&2; exit 1; }}
if [ "${{1:-}}" = undo ]; then
  for port in {words}; do
    for shield in {addresses}; do ufw delete allow in on lumos0 from "$shield" to any port "$port" proto tcp; done
    ufw delete deny "$port/tcp"
  done
  exit 0
fi
for port in {words}; do
  ufw insert 1 deny "$port/tcp"
  for shield in {addresses}; do ufw insert 1 allow in on lumos0 from "$shield" to any port "$port" proto tcp; done
done
ufw status | grep -q active || echo "ufw is not active; the rules hold as soon as it is (allow SSH first)"
"""


def parsed_ports(text: str) -> list[int]:
    """Return the ports that people write with commas or spaces between, sorted and once each.

    Raises:
        InvalidInput: no ports, too many, or one of SSH.
    """
    words = re.split(r"[,\s]+", text.strip(", \t\n"))
    if not all(re.fullmatch("[1-9][0-9]{0,4}", word) and int(word) <= 65_535 for word in words):
        raise InvalidInput("Enter ports from 1 to 65535, for example 80, 443.", field="ports")
    ports = sorted(set(map(int, words)))
    if len(ports) > PORTS_MAX:
        raise InvalidInput(f"Enter at most {PORTS_MAX} ports.", field="ports")
    if _SSH in ports:
        raise InvalidInput("Port 22 is for SSH; closing it would lock you out.", field="ports")
    return ports


def firewall_script(kind: Kind, shields: Iterable[str], ports: Iterable[int]) -> str:
    """Return the script. `shields`: their addresses in the tunnels."""
    numbers, addresses = list(map(str, ports)), list(shields)
    body = _NFTABLES if kind == "nftables" else _UFW
    return (_HEAD + body).format(
        ports=", ".join(numbers), words=" ".join(numbers), shields=", ".join(addresses), addresses=" ".join(addresses)
    )
