"""The CA of an account as snapshots have it."""

from django.conf import settings

from domains.models import CertificateAuthority
from lumos_agent.schema import Acme, ExternalAccount
from servers.models import Server


def authority() -> CertificateAuthority | None:
    """Return the account's own choice, None while it uses the installation's CA."""
    found: CertificateAuthority | None = CertificateAuthority.objects.first()
    return found


def acme_part() -> Acme | None:
    """Return the CA without any shield's key."""
    return acme_of(authority(), None)


def acme_of(row: CertificateAuthority | None, server: Server | None) -> Acme | None:
    """Return the CA as a snapshot has it, with the external account's key that is sealed to `server`."""
    if row is None:
        usual = settings.ACME
        return Acme(directory_url=usual["directory_url"], email=usual["email"]) if usual else None
    external = None
    if row.external_key_id:
        sealed = row.external_keys.get(str(server.pk), "") if server else ""
        external = ExternalAccount(key_id=row.external_key_id, sealed_key=sealed)
    return Acme(directory_url=row.directory_url, email=row.email, external_account=external)
