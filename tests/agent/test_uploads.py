"""Certificates that people bring: sealed on the way, opened on the shield alone, served without a reload."""

import datetime
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lumos_agent.schema import SchemaError, Snapshot, Upload
from lumos_agent.sealing import SealingKey, seal
from tests.agent.builders import config, domain, ident, snapshot
from tests.agent.test_certificates import Issuing, issuing
from tests.agent.visitor import origin

NAME = "d1.site.example"


class NoCa:
    """Uploads need none."""

    ca_file = "/nonexistent"
    directory_url = "https://ca.invalid/directory"


def certificate(*names: str, days: int = 30) -> tuple[str, bytes]:
    """Return (chain, key) of a self-signed certificate, both PEM."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "brought along")])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=40))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    return made.public_bytes(pem).decode(), key.private_bytes(pem, *form)


def public(one: Issuing) -> str:
    return SealingKey(one.shield.state.sealing_key).public()


def last(one: Issuing) -> tuple[str, str]:
    """Return state and reason of the newest report."""
    return one.reports[-1].state, one.reports[-1].reason


async def take(one: Issuing, port: int, upload: Upload | None, source: Any = "uploaded") -> None:
    """Give the shield what the control plane would."""
    site = domain(port=port, hostname=NAME, certificate=source)
    await one.shield.applier.apply(config(1, site))
    uploads = () if upload is None else (upload,)
    one.issuer.want(msgspec.structs.replace(snapshot(site), uploads=uploads))
    await one.issuer.look()


@pytest.mark.integration
async def test_uploaded_certificate_is_served_without_a_reload() -> None:
    async with origin() as port, issuing(NoCa()) as one:  # type: ignore[arg-type]
        chain, key = certificate(NAME)
        await take(one, port, None)
        state, reason = last(one)
        assert (state, "upload it again" in reason) == ("failed", True)
        before = one.shield.applier.running()
        await take(one, port, Upload(domain_id=ident(1), chain=chain, sealed_key=seal(key, public(one), ident(1))))
        assert last(one) == ("active", "")
        assert one.reports[-1].not_after > datetime.datetime.now().timestamp()  # noqa: DTZ005
        assert await one.issuer_of(NAME) == "CN=brought along"
        assert one.shield.applier.running()[0] == before[0]  # type: ignore[index]
        count = len(one.reports)
        await one.issuer.look()
        assert len(one.reports) == count
        await one.shield.haproxy.reload(one.shield.applier.running()[0])  # type: ignore[index]
        assert await one.issuer_of(NAME) == "CN=brought along"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("other shield", "sealed for another shield or domain"),
        ("other domain", "sealed for another shield or domain"),
        ("damaged", "sealed for another shield or domain"),
        ("other key", "does not belong to the certificate"),
        ("other name", "and not for d1.site.example"),
        ("no key", "The new certificate cannot be used"),
        ("expired", "has expired"),
    ],
)
async def test_unusable_upload_is_a_reason_and_the_old_one_goes_on(case: str, reason: str, tmp_path: Any) -> None:
    async with origin() as port, issuing(NoCa()) as one:  # type: ignore[arg-type]
        chain, key = certificate(NAME)
        await take(one, port, Upload(domain_id=ident(1), chain=chain, sealed_key=seal(key, public(one), ident(1))))
        chain, key = certificate("other.example" if case == "other name" else NAME, days=-1 if case == "expired" else 9)
        to = SealingKey(tmp_path / "k.pem").public() if case == "other shield" else public(one)
        if case == "other key":
            key = certificate(NAME)[1]
        if case == "no key":
            key = b"hello"
        sealed = seal(key, to, ident(2) if case == "other domain" else ident(1))
        if case == "damaged":
            sealed = sealed[:40] + ("A" if sealed[40] != "A" else "B") + sealed[41:]
        await take(one, port, Upload(domain_id=ident(1), chain=chain, sealed_key=sealed))
        assert last(one)[0] == "failed"
        assert reason in last(one)[1]
        assert await one.issuer_of(NAME) == "CN=brought along"


def test_sealed_keys_differ_and_open_again(tmp_path: Any) -> None:
    key = SealingKey(tmp_path / "k.pem")
    sealed = {seal(b"secret", key.public(), ident(1)) for _ in range(3)}
    assert len(sealed) == 3
    assert {SealingKey(tmp_path / "k.pem").open(ident(1), text) for text in sealed} == {b"secret"}
    assert (tmp_path / "k.pem").stat().st_mode & 0o777 == 0o600
    for wrong in ("", "====", "AAAA"):
        with pytest.raises(ValueError, match="sealed for another"):
            key.open(ident(1), wrong)


def test_snapshot_with_an_upload_survives_the_wire() -> None:
    chain, _ = certificate(NAME)
    upload = Upload(domain_id=ident(1), chain=chain, sealed_key="AAAA")
    one = msgspec.structs.replace(snapshot(domain(certificate="uploaded")), uploads=(upload,))
    assert Snapshot.decode(one.encode()) == one
    forged = msgspec.structs.replace(one, uploads=(msgspec.structs.replace(upload, chain="x"),))
    with pytest.raises(SchemaError, match="chain"):
        Snapshot.decode(forged.encode())
