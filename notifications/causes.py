"""What other apps tell of: one function per cause, called in the transaction of the change."""

from typing import Any

from accounts.models import User
from domains.failover_models import FailoverDecision
from domains.models import Certificate, CertificateStatus, Domain
from lumos_agent import protocol
from notifications.kinds import Kind
from notifications.models import Channel
from notifications.outbox import record
from servers.models import Server, ServerVerdict, ShieldState
from waf.records import Attack, AttackReason

_RELOAD_STAGES = {"switch", "reload", "probe"}


def _about(server: Server | None = None, domain: Domain | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if server is not None:
        found["server"] = {"id": str(server.pk), "name": server.name}
    if domain is not None:
        found["domain"] = {"id": str(domain.pk), "hostname": domain.hostname}
    return found


def _time(moment: Any) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def server_down(server: Server, *, is_flapping: bool) -> None:
    """A shield was not heard from for two minutes, does not answer those who probe it, or keeps going and coming."""
    seen, judged = server.last_seen_at, ServerVerdict.objects.filter(server=server).first()
    reasons = list(judged.reasons) if judged is not None and judged.state in ("down", "degraded") else []
    if is_flapping:
        title = f"{server.name} keeps going down and coming back"
        text = "You are told again when it has stayed the same for half an hour."
    else:
        serves = judged is not None and judged.state == ShieldState.DEGRADED
        title = f"The agent of {server.name} is silent" if serves else f"{server.name} is down"
        text = f"It was last heard from at {seen:%Y-%m-%d %H:%M:%S} UTC." if seen else ""
        text = " ".join([text, *reasons]).strip()
    data = {**_about(server), "last_seen_at": _time(seen), "is_flapping": is_flapping, "reasons": reasons}
    record(Kind.SERVER_DOWN, key=f"server_down:{server.pk}", title=title, text=text, data=data, server=server)


def server_recovered(server: Server) -> None:
    """A shield that was down is back."""
    text = "Its agent is connected and applies changes."
    key = f"server_recovered:{server.pk}"
    record(
        Kind.SERVER_RECOVERED, key=key, title=f"{server.name} is back", text=text, data=_about(server), server=server
    )


def incident(server: Server, told: protocol.Incident) -> None:
    """A shield noticed something about itself; what it could mend is no alert."""
    if told.kind == "haproxy_crash":
        _server_error(server, "haproxy_crash", f"HAProxy crashed on {server.name}", told.message)
    elif told.kind == "waf_failed":
        words = "Requests that it should have judged passed. Lists, rates and the bot check go on. Please report this: "
        _server_error(server, "waf_failed", f"The WAF of {server.name} fails", words + told.message)


def shield_parted(server: Server) -> None:
    """A shield runs what a restored database does not know; it gets no changes until a person decides."""
    words = "The control plane's database was restored. Open the server's page and decide what counts."
    _server_error(server, "parted", f"{server.name} waits for a decision", words)


def apply_failed(server: Server, report: protocol.Failed) -> None:
    """A shield did not take a configuration, or one was held back."""
    if report.stage in _RELOAD_STAGES:
        _server_error(server, "haproxy_reload_failed", f"HAProxy on {server.name} could not reload", report.message)
    else:
        _server_error(server, "config_update_failed", f"{server.name} refused its configuration", report.message)


def _server_error(server: Server, reason: str, title: str, words: str) -> None:
    words = words.replace("\0", "")
    data = {**_about(server), "reason": reason, "message": words[:2000]}
    key = f"server_error:{reason}:{server.pk}"
    record(Kind.SERVER_ERROR, key=key, title=title, text=words, data=data, server=server)


def channel_disabled(channel: Channel) -> None:
    """A channel was switched off because it did not work."""
    text = f"{channel.disabled_reason}\nWhat waited for it was given up. Switch it on again when it works."
    data = {"channel": {"id": str(channel.pk), "name": channel.name}, "reason": channel.disabled_reason}
    title = f"The channel {channel.name} was switched off"
    record(Kind.CHANNEL_DISABLED, key=f"channel_disabled:{channel.pk}", title=title, text=text, data=data)


def certificate_changed(before: Certificate | None, now: Certificate) -> None:
    """A shield reported where a certificate stands; `before` is what it had reported."""
    domain, server = now.domain, now.server
    data = {**_about(server, domain), "expires_at": _time(now.expires_at), "reason": now.reason}
    if now.status == CertificateStatus.FAILED and (before is None or before.status != CertificateStatus.FAILED):
        title = f"No certificate for {domain.hostname} on {server.name}"
        key = f"ssl_failed:{domain.pk}:{server.pk}"
        record(Kind.SSL_FAILED, key=key, title=title, text=now.reason, data=data, server=server, domain=domain)
    if now.status != CertificateStatus.ACTIVE or before is None or before.expires_at is None or now.expires_at is None:
        return
    if now.expires_at > before.expires_at:
        title = f"The certificate of {domain.hostname} on {server.name} was renewed"
        text = f"It is valid until {now.expires_at:%Y-%m-%d %H:%M} UTC."
        key = f"ssl_renewed:{domain.pk}:{server.pk}"
        record(Kind.SSL_RENEWED, key=key, title=title, text=text, data=data, server=server, domain=domain)


def certificate_expires(certificate: Certificate, days: int) -> None:
    """A certificate ends within `days` days; told once per certificate and number of days."""
    domain, server, until = certificate.domain, certificate.server, certificate.expires_at
    title = f"The certificate of {domain.hostname} on {server.name} ends within {days} day{'s' if days > 1 else ''}"
    text = f"It ends at {until:%Y-%m-%d %H:%M} UTC. {certificate.reason}".strip()
    data = {**_about(server, domain), "expires_at": _time(until), "days": days, "reason": certificate.reason}
    key = f"ssl_expiring:{domain.pk}:{server.pk}:{until:%Y%m%d%H}:{days}"
    record(
        Kind.SSL_EXPIRING, key=key, once=key, title=title, text=text, data=data, server=server, domain=domain,
        is_urgent=days == 1,
    )  # fmt: skip


def attack_began(attack: Attack) -> None:
    """A shield noticed an attack; what other shields see of the same is the same attack."""
    domain, server = attack.domain, attack.server
    text = (
        f"{AttackReason(attack.reason).label}: {attack.requests:.0f} requests a second, usually {attack.normal:.0f}. "
        f"Seen by {server.name}."
    )
    if attack.is_checked:
        text += " Every visitor has to pass the bot check meanwhile."
    data = {
        **_about(server, domain), "attack": str(attack.pk), "began_at": _time(attack.began_at),
        "reason": attack.reason, "requests_per_second": attack.requests, "normal_per_second": attack.normal,
    }  # fmt: skip
    title = f"{domain.hostname} is under attack"
    record(
        Kind.ATTACK_DETECTED, key=f"attack:{domain.pk}", title=title, text=text, data=data, server=server, domain=domain
    )


def failover_decided(domain: Domain, decision: FailoverDecision, *, is_recovery: bool) -> None:
    """A domain answers with other shields than before, and no person wanted that."""
    if decision.cause in ("first", "person"):
        return
    data = {
        **_about(domain=domain), "cause": decision.cause, "before": decision.before, "answered": decision.answered,
        "addresses": decision.addresses, "evidence": decision.evidence,
    }  # fmt: skip
    title = f"{domain.hostname} answers with {', '.join(decision.answered)}{' again' if is_recovery else ''}"
    kind = Kind.FAILOVER_RECOVERED if is_recovery else Kind.FAILOVER_TRIGGERED
    record(kind, key=f"{kind}:{domain.pk}", title=title, text=decision.reason, data=data, domain=domain)


def signed_in(person: User, *, address: str, user_agent: str) -> None:
    """A person signed in from a device or network that was not seen before."""
    text = (
        f"Address: {address}\nBrowser: {user_agent}\n\n"
        "If this was not you, change your password; that ends all other sessions."
    )
    data = {"user": {"id": str(person.pk), "email": person.email}, "address": address, "user_agent": user_agent}
    key = f"new_login:{person.pk}"
    record(Kind.NEW_LOGIN, key=key, title=f"{person.email} signed in", text=text, data=data, person=person)
