"""Settings of one domain that cannot hold together; the refusal says which of them to change."""

from collections.abc import Iterable

import msgspec

from domains.models import CertificateSource, Domain, Tls
from lumos.errors import InvalidInput
from lumos_agent.traffic import Traffic

# What TLS that is passed through leaves without effect, though it may be set. Lists of networks hold.
INACTIVE_WHEN_PASSED_THROUGH = ("certificate", "policy", "guard")
_HOLDS_WHEN_PASSED_THROUGH = {
    "passthrough", "balance", "health", "timeouts", "proxy_protocol", "https_redirect", "cache_purges",
}  # fmt: skip


def inactive(domain: Domain) -> list[str]:
    """Return the parts of a domain that have no effect as it is set up."""
    return list(INACTIVE_WHEN_PASSED_THROUGH) if domain.is_passed_through else []


def refuse_contradictions(*, hostname: str, certificate: str, traffic: Traffic, origins: Iterable[str]) -> None:
    """Return if the settings fit together; `origins` says how each is spoken to.

    Raises:
        InvalidInput: they do not; `field` is the setting that asks for something it cannot have.
    """
    if traffic.client_certificates is not None and traffic.passthrough is None:
        _refuse_client_certificates(hostname, certificate)
    if traffic.passthrough is not None:
        _refuse_requests_settings(traffic)
        for index, tls in enumerate(origins):
            if tls == Tls.VERIFY:
                raise InvalidInput(
                    "TLS is passed through to this origin, so visitors check its certificate and the shield cannot. "
                    "Choose HTTPS without a check.",
                    field=f"origins[{index}].tls",
                )


def _refuse_requests_settings(traffic: Traffic) -> None:
    for setting in msgspec.structs.fields(traffic):
        if setting.name in _HOLDS_WHEN_PASSED_THROUGH or getattr(traffic, setting.name) == setting.default:
            continue
        raise InvalidInput(
            "This needs a look inside requests, and TLS passthrough hides them. Set it back to its default, or end "
            "the passthrough.",
            field=f"traffic.{setting.name}",
        )


def _refuse_client_certificates(hostname: str, certificate: str) -> None:
    field = "traffic.client_certificates"
    if hostname == "*":
        raise InvalidInput(
            "Which certificates are asked for depends on the hostname; the catch-all * has none. Add the hostname as "
            "a domain of its own.",
            field=field,
        )
    if certificate == CertificateSource.OFF:
        raise InvalidInput(
            "Visitors can show a certificate over HTTPS only: choose a certificate for this domain first.", field=field
        )
