"""Settings of one domain that cannot hold together; the refusal says which of them to change."""

from domains.models import CertificateSource
from lumos.errors import InvalidInput
from lumos_agent.traffic import Traffic


def refuse_contradictions(*, hostname: str, certificate: str, traffic: Traffic) -> None:
    """Return if the settings fit together.

    Raises:
        InvalidInput: they do not; `field` is the setting that asks for something it cannot have.
    """
    if traffic.client_certificates is not None:
        _refuse_client_certificates(hostname, certificate)


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
