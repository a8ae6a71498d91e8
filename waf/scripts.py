"""Verbs on the customer's own Lua of a domain, what it would do, and what its shields say about it."""

import hashlib
import uuid
from datetime import timedelta
from typing import Any

import msgspec
from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import User
from domains.models import Domain
from domains.traffic import refusal
from lumos.errors import InvalidInput
from lumos_agent.errors import AgentError
from lumos_agent.schema import Script as ScriptPart
from lumos_agent.script import ScriptError
from lumos_agent.script.trial import ScriptTrial, check_script, try_script
from lumos_agent.waf_try import REQUEST_BYTES_MAX
from servers import revisions
from waf.compiler import script_parts
from waf.events import naming
from waf.models import Event, Script
from waf.trial import one_of_few

# How events name what a script says.
ERROR_RULE, LOG_RULE = "script-error", "script-log"
LOOKED_BACK = timedelta(days=1)
TOLD_MAX = 10


def script_of(domain_id: uuid.UUID) -> ScriptPart:
    """Return the script of one domain."""
    return script_parts([domain_id]).get(domain_id, ScriptPart())


def canonical_script(given: Any) -> ScriptPart:
    """Return a checked script with line breaks of one kind.

    Raises:
        InvalidInput: it is no Lua, or a setting is unknown.
    """
    if isinstance(given, dict) and isinstance(source := given.get("source"), str):
        given = {**given, "source": source.replace("\r\n", "\n")}
    try:
        part = msgspec.convert(given, ScriptPart)
        check_script(part.source)
    except msgspec.ValidationError as error:
        raise _refusal(error) from error
    except ScriptError as error:
        raise InvalidInput(f"The script cannot be used: {error}.", field="source") from error
    except AgentError as error:
        raise InvalidInput(f"The script could not be checked: {error}.", field="source") from error
    return part


def _refusal(error: msgspec.ValidationError) -> InvalidInput:
    if isinstance(error.__cause__, ValueError):
        return InvalidInput(f"The script cannot be used: {error.__cause__}.", field="source")
    return refusal(error)


def _told(part: ScriptPart) -> dict[str, str]:
    """Return what the audit says of a script: a text of 64 KB belongs into no list of changes."""
    digest = hashlib.sha256(part.source.encode()).hexdigest()[:12]
    lines = part.source.count("\n") + 1 if part.source else 0
    return {"mode": part.mode, "fails": part.fails, "source": f"{lines} lines, SHA-256 {digest}…"}


@transaction.atomic
def put_script(*, domain: Domain, wanted: ScriptPart, actor: User) -> None:
    """Give a domain this script and push it."""
    Domain.objects.select_for_update(no_key=True).get(pk=domain.pk)
    before = script_of(domain.pk)
    if before == wanted:
        return
    values = {"enabled": wanted.mode == "on", "fails": wanted.fails, "source": wanted.source}
    Script.objects.update_or_create(domain=domain, defaults=values)
    cause = audit.record(actor, audit.Action.SCRIPT_CHANGED, domain, audit.changes(_told(before), _told(wanted)))
    revisions.bump(domain.servers.all(), cause=cause, touched=[domain.pk])


def try_on(*, source: str, request: bytes, client: str, country: str, scheme: str) -> ScriptTrial:
    """Return what a script would do with a raw request.

    Raises:
        InvalidInput: there is no request, the script is no Lua, or the trial takes too much time or memory.
        Busy: too many try at once.
    """
    if not request.strip():
        raise InvalidInput("Paste a request, beginning with a line such as GET /search?q=1 HTTP/1.1.", field="request")
    if len(request) > REQUEST_BYTES_MAX:
        raise InvalidInput(f"A request to try has at most {REQUEST_BYTES_MAX // 1024} KB.", field="request")
    part = canonical_script({"source": source})
    with one_of_few():
        try:
            return try_script(part.source, request, client=client, country=country, scheme=scheme)
        except AgentError as error:
            raise InvalidInput(f"This could not be tried: {error}.", field="request") from error


def troubles(domain: Domain) -> list[Event]:
    """Return the last day's latest failures and log lines of a domain's script, as its shields told them."""
    rows = Event.objects.filter(domain=domain, created_at__gte=timezone.now() - LOOKED_BACK)
    return list(naming(rows, ERROR_RULE, LOG_RULE).select_related("server")[:TOLD_MAX])
