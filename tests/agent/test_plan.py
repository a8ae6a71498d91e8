"""The pure difference of two artefacts."""

import pytest

from lumos_agent.plan import CHANGES_MAX, MAP_ORDER, META, Plan, plan
from lumos_agent.render.haproxy import Artefact, Identity, Options, render
from lumos_agent.schema import Domain, Policy
from tests.agent.builders import Networks, domain, snapshot

OPTIONS = Options(
    http=("127.0.0.1:80",),
    https=(),
    run_dir="/run/l",
    certificates_list="/c",
    challenges_map="/m",
    alive_map="/a",
    server_state="/s",
    engine="/waf.lua",
)


def artefact(*domains: Domain, revision: int = 1, **lists: Networks) -> Artefact:
    return render(snapshot(*domains, **lists), OPTIONS, Identity(epoch="e", revision=revision, digest=str(revision)))


def test_first_configuration_is_a_reload() -> None:
    assert plan(None, artefact()).how == "reload"


def test_equal_artefacts_need_nothing() -> None:
    assert plan(artefact(domain()), artefact(domain())).how == "nothing"


@pytest.mark.parametrize(
    "change",
    [
        artefact(domain(), deny={1: ("10.0.0.0/8",)}, revision=2),
        artefact(domain(), allow={1: ("10.0.0.0/8", "2001:db8::/32")}, revision=2),
        artefact(domain(policy=Policy(mode="detect")), revision=2),
        artefact(domain(policy=Policy(mode="off")), revision=2),
        artefact(domain(policy=Policy(level="high")), revision=2),
    ],
)
def test_lists_and_policies_change_at_run_time(change: Artefact) -> None:
    for old, new in ((artefact(domain()), change), (change, artefact(domain()))):
        todo = plan(old, new)
        assert todo.how == "runtime"
        assert todo.changes


@pytest.mark.parametrize("new", [domain(port=10), domain(2)])
def test_origins_and_domains_reload_with_a_reason(new: Domain) -> None:
    todo = plan(artefact(domain()), artefact(new, revision=2))
    assert todo.how == "reload"
    assert "haproxy.cfg" in todo.reason


def test_networks_are_found_only_while_their_verdicts_are_there() -> None:
    old, new = (artefact(domain(), deny={1: networks}) for networks in (("10.0.0.0/8",), ("10.1.0.0/16",)))
    order = [(c.map, c.value is None) for c in plan(old, new).changes]
    assert order.index(("verdicts", False)) < order.index(("nets", False)) < order.index(("nets", True))
    assert order.index(("nets", True)) < order.index(("verdicts", True))


def test_every_map_of_a_shield_changes_at_run_time() -> None:
    assert artefact(domain()).maps.keys() == {*MAP_ORDER, META}


def test_very_many_entries_are_a_reload() -> None:
    deny = tuple(f"10.{n // 256}.{n % 256}.0/24" for n in range(CHANGES_MAX))
    todo: Plan = plan(artefact(domain()), artefact(domain(), deny={1: deny}, revision=2))
    assert todo.how == "reload"
    assert "map entries" in todo.reason
