"""Pieces of a snapshot: together they are the whole, and a patch leads to it."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumos_agent import protocol
from lumos_agent.desired import Desired
from lumos_agent.parts import Decoder, Parts, encoded
from lumos_agent.render.haproxy import Identity, Renderer, render
from lumos_agent.schema import Acme, Listing, SchemaError, Snapshot, digest_of, listings
from lumos_agent.store import Stored
from lumos_agent.traffic import Traffic
from tests.agent.builders import domain, ident, snapshot
from tests.agent.test_plan import OPTIONS

_NETWORKS = st.lists(st.integers(0, 300).map(lambda n: f"10.{n // 256}.{n % 256}.0/24"), max_size=4, unique=True)
_DOMAIN = st.builds(
    domain,
    st.integers(1, 5),
    port=st.integers(1, 3),
    traffic=st.builds(Traffic, trusted_proxies=st.sampled_from([(), ("192.0.2.0/24",), ("10.0.0.0/8",)])),
)


@st.composite
def _snapshots(draw: st.DrawFn) -> Snapshot:
    domains = draw(st.lists(_DOMAIN, max_size=4, unique_by=lambda d: d.id))
    lists = [part for d in domains for part in listings(d.id, draw(_NETWORKS), draw(_NETWORKS))]
    acme = draw(st.sampled_from([None, Acme(directory_url="https://ca.example/directory")]))
    whole = snapshot(*domains)
    return msgspec.structs.replace(whole, lists=tuple(sorted(lists, key=lambda p: (p.scope, p.bucket))), acme=acme)


@given(_snapshots())
def test_pieces_put_together_are_the_whole(one: Snapshot) -> None:
    assert Parts.split(one.encode()).join() == one.encode()


@given(st.lists(_snapshots(), min_size=2, max_size=5))
def test_what_was_decoded_and_rendered_before_changes_nothing(several: list[Snapshot]) -> None:
    decoder, renderer = Decoder(), Renderer(OPTIONS)
    for one in several:
        decoded = decoder.decode(one.encode(), digest_of(one.encode()))
        assert decoded == one
        assert renderer.render(decoded, Identity()) == render(one, OPTIONS, Identity())


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b'{"server_id":"x","domains":[]}', b'{"server_id":"%s","domains":[{}]}' % ident(1).encode()],
)
def test_decoder_refuses_what_the_schema_refuses(data: bytes) -> None:
    with pytest.raises(SchemaError):
        Decoder().decode(data, "")


def patch(old: Snapshot, new: Snapshot) -> protocol.Patch:
    keys = {(p.scope, p.bucket) for p in old.lists} - {(p.scope, p.bucket) for p in new.lists}
    gone = [Listing(scope=scope, bucket=bucket) for scope, bucket in keys]
    return protocol.Patch(
        epoch="e",
        revision=2,
        digest=digest_of(new.encode()),
        base=digest_of(old.encode()),
        domains=tuple(encoded(d) for d in new.domains if d not in old.domains),
        lists=tuple(encoded(p) for p in (*new.lists, *gone) if p not in old.lists),
        removed_domains=tuple({d.id for d in old.domains} - {d.id for d in new.domains}),
    )


@given(_snapshots(), _snapshots())
def test_patch_leads_to_the_whole(old: Snapshot, new: Snapshot) -> None:
    new = msgspec.structs.replace(new, acme=old.acme)
    stored = Stored(epoch="e", revision=1, digest=digest_of(old.encode()), snapshot=old.encode())
    desired = Desired(lambda: stored)
    config = desired.patched(patch(old, new))
    assert config is not None
    assert bytes(config.snapshot) == new.encode()
    back = desired.patched(patch(new, old))
    assert back is not None
    assert bytes(back.snapshot) == old.encode()


@given(st.lists(_snapshots(), min_size=2, max_size=5))
def test_patches_are_decoded_as_the_whole_is(several: list[Snapshot]) -> None:
    first = several[0]
    decoder, renderer = Decoder(), Renderer(OPTIONS)
    decoder.decode(first.encode(), digest_of(first.encode()))
    for old, new in itertools.pairwise(msgspec.structs.replace(one, acme=first.acme) for one in several):
        decoded = decoder.patched(patch(old, new))
        assert decoded == new
        assert renderer.render(decoded, Identity()) == render(new, OPTIONS, Identity())


def test_decoder_takes_no_patch_of_something_else_and_none_that_breaks_a_rule() -> None:
    old, new = snapshot(domain(1)), snapshot(domain(1), domain(2))
    good = patch(old, new)
    decoder = Decoder()
    assert decoder.patched(good) is None
    decoder.decode(old.encode(), digest_of(old.encode()))
    assert decoder.patched(msgspec.structs.replace(good, base="0" * 64)) is None
    for bad in (msgspec.Raw(b'{"id":1}'), encoded(msgspec.structs.replace(domain(2), hostname=domain(1).hostname))):
        with pytest.raises(SchemaError):
            decoder.patched(msgspec.structs.replace(good, domains=(bad,)))
    assert decoder.patched(good) == new


def test_patch_of_something_else_does_not_fit_and_harms_nothing() -> None:
    old, new = snapshot(domain(1)), snapshot(domain(1), domain(2))
    stored = Stored(epoch="e", revision=1, digest=digest_of(old.encode()), snapshot=old.encode())
    desired = Desired(lambda: stored)
    good = patch(old, new)
    assert desired.patched(msgspec.structs.replace(good, base="0" * 64)) is None
    assert desired.patched(msgspec.structs.replace(good, digest="0" * 64)) is None
    assert desired.patched(msgspec.structs.replace(good, domains=(msgspec.Raw(b'{"id":1}'),))) is None
    assert desired.patched(good) is not None
