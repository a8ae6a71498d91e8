"""Words of haproxy.cfg: what keeps text from being anything else."""

AS_HTML = "content-type 'text/html; charset=utf-8'"


def quoted(text: str) -> str:
    """Return one word of a configuration line (configuration manual, 2.2): nothing in it is special."""
    return "'" + text.replace("'", "'\\''") + "'"


def literal(text: str) -> str:
    """Return a word in which a log-format finds nothing to replace (configuration manual, 8.2.4)."""
    return quoted(text.replace("%", "%%"))


def bracketed(host: str) -> str:
    """Return a host as it stands before a port: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host
