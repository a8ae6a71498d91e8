"""Traffic settings as people state them: parts are merged, spellings made canonical, mistakes named by their place."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from domains.client_certificates import canonical_bundle
from domains.validators import canonical_hostname, canonical_origin
from lumos.errors import AppError, InvalidInput
from lumos_agent.grammar import EXPLAINED
from lumos_agent.schema import canonical_network
from lumos_agent.traffic import Traffic

_AT = re.compile(r"\A(?P<text>.*?)(?: - at `\$\.?(?P<path>.*)`)?\Z", re.DOTALL)
_COUNTERS = {"cache_purges"}


def parsed(stored: Mapping[str, Any]) -> Traffic:
    """Return the settings of a row."""
    return msgspec.convert(stored, Traffic)


def shown(value: Any) -> Any:
    """Return a part of a snapshot as plain data with all fields, those too that have their default."""
    return _plain(value, whole=True)


def plain(value: Any) -> Any:
    """Return a part of a snapshot as plain data: the fields that differ from their default."""
    return _plain(value, whole=False)


def _plain(value: Any, *, whole: bool) -> Any:
    """Return `value` as JSON; unless `whole`, without what equals its default (`omit_defaults` compares identities)."""
    if isinstance(value, msgspec.Struct):
        named = [(field.name, getattr(value, field.name), field.default) for field in msgspec.structs.fields(value)]
        return {name: _plain(part, whole=whole) for name, part, default in named if whole or part != default}
    return [_plain(item, whole=whole) for item in value] if isinstance(value, tuple) else value


def portable(stored: Mapping[str, Any], *, whole: bool = False) -> dict[str, Any]:
    """Return the settings that mean the same on another domain: all fields, or those that differ from their default."""
    plain = _plain(parsed(stored), whole=whole)
    return {name: value for name, value in plain.items() if name not in _COUNTERS}


def merged(stored: Mapping[str, Any], given: Any) -> dict[str, Any]:
    """Return `stored` with the settings that `given` names replaced, in the form that a row keeps.

    Raises:
        InvalidInput: `field` is the place, such as traffic.headers[0].name.
    """
    if not isinstance(given, Mapping):
        raise InvalidInput("Traffic settings are an object such as {“compression”: true}.", field="traffic")
    try:
        traffic = msgspec.convert({**stored, **_canonical(given)}, Traffic)
    except msgspec.ValidationError as error:
        raise refusal(error, "traffic") from error
    kept: dict[str, Any] = _plain(traffic, whole=False)
    return kept


def refusal(error: msgspec.ValidationError, root: str = "") -> InvalidInput:
    """Return what is wrong and where: `field` is a place such as traffic.headers[0].name, below `root`."""
    match = _AT.match(str(error))
    text, path = (match["text"], match["path"] or "") if match else (str(error), "")
    if pattern := text.partition(" matching regex ")[2]:
        text = EXPLAINED.get(pattern, "There are characters in it that have no place there.")
    return InvalidInput(text.replace("`", "“", 1).replace("`", "”", 1), field=".".join(filter(None, (root, path))))


def _canonical(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given` with names and addresses in canonical form; what has the wrong type is left to the schema."""
    result = dict(given)
    for name in ("origin_host", "origin_sni"):
        if result.get(name):
            result[name] = _one(canonical_hostname, result[name], name)
    for name in ("trusted_proxies", "maintenance_allow"):
        if isinstance(result.get(name), list):
            found = [_one(canonical_network, text, f"{name}[{index}]") for index, text in enumerate(result[name])]
            result[name] = sorted(set(found)) if all(isinstance(text, str) for text in found) else found
    if isinstance(cdns := result.get("trusted_cdns"), list) and all(isinstance(name, str) for name in cdns):
        result["trusted_cdns"] = sorted(set(cdns))
    clients = result.get("client_certificates")
    if isinstance(clients, Mapping) and "ca" in clients:
        result["client_certificates"] = {
            **clients,
            "ca": _one(canonical_bundle, clients["ca"], "client_certificates.ca"),
        }
    if isinstance(result.get("routes"), list):
        result["routes"] = [_route(route, f"routes[{index}]") for index, route in enumerate(result["routes"])]
    return result


def _route(route: Any, place: str) -> Any:
    if not isinstance(route, Mapping) or not isinstance(route.get("origins"), list):
        return route
    return {**route, "origins": [_origin(o, f"{place}.origins[{index}]") for index, o in enumerate(route["origins"])]}


def _origin(origin: Any, place: str) -> Any:
    if not isinstance(origin, Mapping) or "address" not in origin:
        return origin
    return {**origin, "address": _one(canonical_origin, origin["address"], f"{place}.address")}


def _one(canonical: Callable[[str], str], text: Any, place: str) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return canonical(text)
    except AppError as error:
        raise InvalidInput(error.detail, field=f"traffic.{place}") from error
    except ValueError as error:
        raise InvalidInput(f"“{text[:80]}” is no address or network.", field=f"traffic.{place}") from error
