"""nginx with ModSecurity and the OWASP Core Rule Set as a proxy: what bench/overhead compares with."""

import socket
import subprocess
import time
from pathlib import Path

MODULE = Path("/usr/lib/nginx/modules/ngx_http_modsecurity_module.so")
_RULES = Path("/usr/share/modsecurity-crs/rules")
_SETUP = Path("/etc/modsecurity/crs/crs-setup.conf")
_STARTS_WITHIN_SECONDS = 30

_WAF = """
SecRuleEngine On
SecRequestBodyAccess On
SecResponseBodyAccess Off
SecAuditEngine Off
SecRequestBodyLimit 13107200
Include {setup}
Include {rules}/*.conf
"""
_PROXY = """
load_module {module};
worker_processes auto;
daemon off;
error_log {folder}/error.log crit;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000;
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    modsecurity on;
    modsecurity_rules_file {folder}/waf.conf;
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
    }}
  }}
}}
"""


def is_installed() -> bool:
    """Whether bench/modsecurity was run."""
    return MODULE.exists() and _SETUP.exists()


def start(folder: Path, port: int, origin: int) -> subprocess.Popen[bytes]:
    """Start one worker per core that inspects what it passes to the origin; returns when it listens.

    Raises:
        RuntimeError: nginx does not start.
    """
    (folder / "waf.conf").write_text(_WAF.format(setup=_SETUP, rules=_RULES))
    (folder / "nginx.conf").write_text(_PROXY.format(module=MODULE, folder=folder, port=port, origin=origin))
    process = subprocess.Popen(
        ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.PIPE, start_new_session=True
    )
    until = time.monotonic() + _STARTS_WITHIN_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.1)
    process.terminate()
    raise RuntimeError(f"nginx does not start: {process.communicate()[1].decode()}")
