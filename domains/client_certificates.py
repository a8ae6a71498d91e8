"""CAs of visitors' certificates as people upload them."""

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from django.utils import timezone

from lumos.errors import InvalidInput

CERTIFICATES_MAX = 20
BUNDLE_BYTES_MAX = 65_536


def canonical_bundle(text: str) -> str:
    """Return CA certificates in PEM as `openssl` writes them.

    Raises:
        InvalidInput: none or too many, one that is no CA's or not valid now, or something else beside them.
    """
    if "PRIVATE KEY" in text:
        raise InvalidInput("This holds a private key. Replace that key, and give certificates of CAs only.")
    if len(text) > BUNDLE_BYTES_MAX:
        raise InvalidInput(f"{len(text)} characters; all CA certificates together have at most {BUNDLE_BYTES_MAX}.")
    try:
        certificates = x509.load_pem_x509_certificates(text.encode())
        unfit = [_objection(certificate) for certificate in certificates]
    except ValueError as error:
        raise InvalidInput("Enter CA certificates in PEM form: -----BEGIN CERTIFICATE----- …") from error
    if len(certificates) > CERTIFICATES_MAX:
        raise InvalidInput(f"{len(certificates)} certificates; at most {CERTIFICATES_MAX} fit.")
    if objection := next(filter(None, unfit), None):
        raise InvalidInput(objection)
    return "".join(certificate.public_bytes(serialization.Encoding.PEM).decode() for certificate in certificates)


def _objection(certificate: x509.Certificate) -> str | None:
    name = certificate.subject.rfc4514_string()[:200]
    try:
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_ca = False
    if not is_ca:
        return f"“{name}” is no CA: it may issue no certificates. Give the CA that issues those of your visitors."
    if not certificate.not_valid_before_utc <= timezone.now() < certificate.not_valid_after_utc:
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return f"The CA “{name}” is valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d} only."
    return None
