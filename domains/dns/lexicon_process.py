"""One conversation of dns-lexicon with a provider, in a process of its own: its requests have no time limit.

Reads one JSON object from stdin ({provider, zone, token, ttl, endpoint, calls}) and writes one to stdout: {results} or
{error}. `endpoint` replaces the provider's API in tests; `calls` are [operation, kind, name, data].
"""

import functools
import json
import sys
from typing import Any

import requests
import tldextract
from lexicon import client
from lexicon.config import ConfigResolver


def _answers(asked: dict[str, Any]) -> list[Any]:
    # The suffix list that comes with the library does; nothing is fetched, and the zone is known anyhow.
    extract: Any = functools.partial(tldextract.TLDExtract, suffix_list_urls=())
    vars(tldextract)["TLDExtract"] = extract
    options = {
        "provider_name": asked["provider"],
        "domain": asked["zone"],
        "ttl": asked["ttl"],
        asked["provider"]: {"auth_token": asked["token"]},
    }
    resolver: Any = ConfigResolver
    made: Any = client.Client(resolver().with_dict(options))
    made.provider_class = functools.partial(_provider, made.provider_class, asked)
    with made as operations:
        return [_answer(operations, *call) for call in asked["calls"]]


def _provider(provider_class: Any, asked: dict[str, Any], config: Any) -> Any:
    """Return the provider with the zone as it is, not as a suffix list would guess it."""
    provider = provider_class(config)
    provider.domain = asked["zone"]
    if asked["endpoint"]:
        provider.api_endpoint = asked["endpoint"]
    return provider


def _answer(operations: Any, operation: str, kind: str, name: str, data: str) -> Any:
    if operation == "list":
        return [[row["type"], row["name"], row["content"]] for row in operations.list_records(kind, name)]
    if operation == "create":
        return operations.create_record(kind, name, data)
    return operations.delete_record(None, kind, name, data)


def _words(error: Exception) -> str:
    """Return what a provider said, never the request, which has the token in its headers."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"status {error.response.status_code}: {error.response.text[:300]}"
    return f"{type(error).__name__}: {error}"[:300]


if __name__ == "__main__":
    try:
        found: dict[str, Any] = {"results": _answers(json.load(sys.stdin))}
    except Exception as error:
        found = {"error": _words(error)}
    json.dump(found, sys.stdout)
