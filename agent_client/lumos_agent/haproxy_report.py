"""Around the import of an existing haproxy.cfg: the files it reads, the table it prints, the copy that it keeps."""

from pathlib import Path
from typing import Any

import msgspec

from lumos_agent.config import State, write_atomically
from lumos_agent.document import ConfigDomain
from lumos_agent.errors import AgentError
from lumos_agent.haproxy_config import CONFIG_BYTES_MAX, text_of
from lumos_agent.haproxy_import import Imported, imported

KEPT_AS = "haproxy.cfg.before-lumos"


def read_config(path: Path) -> bytes:
    """Return the content of a file, no more than one byte beyond the limit.

    Raises:
        AgentError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise AgentError(f"cannot read {path}: {error.strerror}") from error


def imported_from(data: bytes, folder: Path) -> Imported:
    """Return what a configuration holds; relative map files are looked for in `folder`."""

    def read(name: str) -> str | None:
        try:
            return text_of(read_config(folder / name))
        except AgentError:
            return None

    return imported(text_of(data), read)


def keep(data: bytes, state: State) -> Path:
    """Keep the configuration that was there before Lumos; the first copy stays."""
    path = state.root / KEPT_AS
    if not path.exists():
        write_atomically(path, data)
    return path


def write_document(found: Imported, path: Path) -> None:
    """Write the document that the dashboard imports.

    Raises:
        AgentError: the file cannot be written.
    """
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(found.document()), indent=2) + b"\n")
    except OSError as error:
        raise AgentError(f"cannot write {path}: {error.strerror}") from error


def shown(found: Imported) -> dict[str, Any]:
    """Return the result for programs."""
    return {
        "domains": msgspec.to_builtins(found.domains),
        "binds": found.binds,
        "left_out": msgspec.to_builtins(found.remarks),
    }


def table(found: Imported) -> str:
    """Return the result for people."""
    width = max((len(domain.hostname) for domain in found.domains), default=0)
    lines = [f"{len(found.domains)} domains can be taken over."]
    lines += [f"  {domain.hostname:<{width}}  ->  {_origins(domain)}" for domain in found.domains]
    if found.remarks:
        lines += ["", f"{len(found.remarks)} things were left out:"]
        lines += [f"  line {remark.line}: {remark.what}\n      {remark.why}" for remark in found.remarks]
    return "\n".join(_printable(line) for line in lines)


def _origins(domain: ConfigDomain) -> str:
    texts = []
    for origin in domain.origins or ():
        host = f"[{origin.address}]" if ":" in origin.address else origin.address
        notes = [
            *({"off": [], "on": ["https"], "verify": ["https, verified"]}[origin.tls]),
            *([f"weight {origin.weight}"] if origin.weight != 100 else []),
            *(["backup"] if origin.backup else []),
            *([] if origin.enabled else ["disabled"]),
        ]
        texts.append(f"{host}:{origin.port}" + (f" ({', '.join(notes)})" if notes else ""))
    return ", ".join(texts)


def _printable(line: str) -> str:
    """Take out control characters, which could move the cursor of a terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in line)
