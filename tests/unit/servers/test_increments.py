"""Any row of changes: what is patched is what a compilation of everything says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from domains.cdn_models import CdnList
from domains.models import Domain
from domains.services import OriginData, add_domain, change_domain, remove_domain
from servers import increments, revisions
from servers.models import Server, SnapshotRecord
from servers.snapshots import compile_snapshot
from tests import factories
from tests.factories import Tenant
from waf.lists import add_list_entry, remove_list_entry, replace_lists
from waf.models import ListEntry
from waf.services import change_policy

pytestmark = pytest.mark.django_db

_NETWORKS = [f"10.0.{number}.0/24" for number in range(6)]
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["add", "edit", "move", "remove", "policy", "entry", "unlist", "replace", "bump", "all", "none", "trust"]
        ),
        st.integers(0, 2),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=12,
)


def _add(tenant: Tenant, number: int) -> None:
    if not Domain.objects.filter(hostname=f"n{number}.example").exists():
        origins = [OriginData(address="10.0.0.1", port=80)]
        add_domain(hostname=f"n{number}.example", origins=origins, servers=[tenant.server], actor=tenant.owner)


def _list(tenant: Tenant, domain: Domain, what: str, number: int) -> None:
    entries = ListEntry.objects.filter(domain=domain).order_by("network", "kind")
    if what == "entry" and not entries.filter(kind="deny", network=_NETWORKS[number]).exists():
        add_list_entry(domain=domain, kind="deny", network=_NETWORKS[number], actor=tenant.owner)
    elif what == "unlist" and (entry := entries.first()) is not None:
        remove_list_entry(entry=entry, actor=tenant.owner)
    elif what == "replace":
        replace_lists(domain=domain, allow=_NETWORKS[:number], deny=_NETWORKS[number:], actor=tenant.owner)


def _list_for_all(tenant: Tenant, what: str, number: int) -> None:
    entries = ListEntry.objects.filter(domain=None).order_by("network")
    if what == "none" and (entry := entries.first()) is not None:
        remove_list_entry(entry=entry, actor=tenant.owner)
    elif what == "all" and not entries.filter(network=_NETWORKS[number]).exists():
        add_list_entry(domain=None, kind="deny", network=_NETWORKS[number], actor=tenant.owner)


def act(tenant: Tenant, what: str, which: int, number: int) -> None:
    """Change something, if it is there."""
    actor = tenant.owner
    domain = Domain.objects.order_by("hostname")[which : which + 1].first()
    if what == "add":
        _add(tenant, number)
    elif what == "bump":
        revisions.bump([tenant.server])
    elif what in ("all", "none"):
        _list_for_all(tenant, what, number)
    elif domain is None:
        return
    elif what == "edit":
        change_domain(domain_id=domain.pk, actor=actor, hostname=f"e{which}{number}.example")
    elif what == "move":
        change_domain(domain_id=domain.pk, actor=actor, servers=[tenant.server] if number % 2 else [])
    elif what == "remove":
        remove_domain(domain=domain, actor=actor)
    elif what == "policy":
        change_policy(policy=domain.policy, actor=actor, level=("low", "medium", "high")[number % 3])
    elif what == "trust":
        cdns = ([], ["fastly"], ["cloudflare", "fastly"])[number % 3]
        change_domain(domain_id=domain.pk, actor=actor, traffic={"trusted_cdns": cdns})
    else:
        _list(tenant, domain, what, number)


class TestPatches(TestCase):
    """Every example rolls back."""

    @settings(max_examples=20)
    @given(_STEPS, st.integers(1, 4))
    def test_patched_is_what_is_compiled(self, steps: list[tuple[str, int, int]], every: int) -> None:
        tenant = factories.tenant("alice", "alice.example")
        CdnList.objects.create(name="fastly", networks=["20.0.0.0/16"], as_of="2101-01-01")
        with tenant.scope, pytest.MonkeyPatch.context() as patched:
            patched.setattr("servers.increments.PATCH_FROM_BYTES", 0)
            compiled = compile_snapshot(tenant.server.pk)
            assert compiled is not None
            base = increments.base_of(compiled)
            assert base is not None
            for number, (what, which, size) in enumerate(steps):
                act(tenant, what, which, size)
                if number % every:
                    continue
                whole = compile_snapshot(tenant.server.pk)
                assert whole is not None
                found = increments.compile_patch(tenant.server.pk, base)
                if found is None:
                    base = increments.base_of(whole)
                    assert base is not None
                    continue
                assert found[0] == whole
                assert found[1].digest == whole.digest
                base = found[2]


def test_too_many_pieces_are_no_patch(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servers.increments.PATCH_FROM_BYTES", 0)
    monkeypatch.setattr("servers.history.TOUCHED_MAX", 2)
    monkeypatch.setattr("servers.history.AT_ONCE_SERVERS", 0)  # the record stays open, as of a shield that is away
    with alice.scope:
        compiled = compile_snapshot(alice.server.pk)
        assert compiled is not None
        base = increments.base_of(compiled)
        assert base is not None
        for piece, is_patch in (("*/1", True), ("*/2", True), ("*/3", False), ("*/1", False)):
            revisions.bump([alice.server], touched=[piece])
            assert (increments.compile_patch(alice.server.pk, base) is not None) is is_patch


def test_expired_history_is_no_patch(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servers.increments.PATCH_FROM_BYTES", 0)
    with alice.scope:
        compiled = compile_snapshot(alice.server.pk)
        assert compiled is not None
        base = increments.base_of(compiled)
        assert base is not None
        add_list_entry(domain=alice.domain, kind="deny", network="10.0.0.0/8", actor=alice.owner)
        assert increments.compile_patch(alice.server.pk, base) is not None
        SnapshotRecord.objects.filter(revision__lte=base.revision).delete()
        assert increments.compile_patch(alice.server.pk, base) is None
        Server.objects.filter(pk=alice.server.pk).delete()
        assert increments.compile_patch(alice.server.pk, base) is None
