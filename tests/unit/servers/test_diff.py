"""What differs between two snapshots."""

from msgspec.structs import replace

from lumos_agent.schema import Domain, Origin, Policy, Snapshot, listings
from lumos_agent.traffic import Health, Traffic
from servers.diff import Site, as_rows, changed_fields, diff, facts, pairs, sites
from tests.agent.builders import Networks, domain, ident, snapshot
from tests.agent.zones import record, zone


def site(one: Domain, **lists: Networks) -> Site:
    (only,) = sites(snapshot(one, **lists))
    return only


def test_equal_snapshots_have_no_difference() -> None:
    assert pairs(snapshot(domain(1)), snapshot(domain(1))) == []


def test_ids_are_no_facts() -> None:
    one = domain(1)
    moved = replace(one, id=ident(9), origins=tuple(replace(o, id=ident(77)) for o in one.origins))
    assert facts(site(one)) == facts(site(moved))
    assert pairs(snapshot(one), snapshot(moved)) == []


def test_domain_is_followed_through_a_new_name() -> None:
    one = domain(1, hostname="a.example")
    (pair,) = pairs(snapshot(one), snapshot(replace(one, hostname="b.example")))
    assert changed_fields(*(d for d in pair if d)) == {"hostname": {"before": "a.example", "after": "b.example"}}


def test_name_that_went_to_another_domain_is_two_changes() -> None:
    one, other = domain(1, hostname="a.example"), domain(2, hostname="a.example")
    found = diff(snapshot(one), snapshot(replace(one, hostname="b.example"), other))
    assert [d["hostname"] for d in found["added"]] == ["a.example"]
    assert [d["hostname"] for d in found["changed"]] == ["b.example"]


def test_order_and_weight_of_origins_are_changes() -> None:
    first, second = (Origin(id=ident(n), address=f"10.0.0.{n}", port=80) for n in (1, 2))
    one = domain(1, origins=(first, second))
    for origins in ((second, first), (first, replace(second, weight=1))):
        assert set(changed_fields(site(one), site(replace(one, origins=origins)))) == {"origins"}


def test_lists_show_what_came_and_went() -> None:
    one = site(domain(1), deny={1: ("10.0.0.0/8", "192.0.2.0/24")})
    two = site(domain(1, policy=Policy(level="high")), deny={1: ("192.0.2.0/24", "2001:db8::/32")})
    assert changed_fields(one, two) == {
        "lists.deny": {"added": ["2001:db8::/32"], "removed": ["10.0.0.0/8"]},
        "policy.level": {"before": "medium", "after": "high"},
    }


def test_what_holds_for_all_domains_is_a_change_of_its_own() -> None:
    one, entries = snapshot(domain(1)), tuple(listings("*", ["AS64500"], ["192.0.2.0/24"]))
    found = diff(one, replace(one, lists=entries, under_attack=True))
    assert found["changed"] == []
    assert found["account"] == {
        "under_attack": {"before": False, "after": True},
        "lists.allow": {"added": ["AS64500"], "removed": []},
        "lists.deny": {"added": ["192.0.2.0/24"], "removed": []},
    }
    [row], _ = as_rows(found, domains_max=3, lines_max=5)
    assert (row["hostname"], row["fields"][0]) == ("all domains", ("under_attack", ["False"], ["True"], 0))


def test_zones_are_compared_line_by_line() -> None:
    one = replace(snapshot(domain(1)), zones=(zone(record("www", "A", "192.0.2.1")),))
    two = replace(one, zones=(zone(record("www", "A", "192.0.2.2", place="country:DE"), serial=2),))
    assert diff(one, two)["account"] == {
        "zone example.com": {"added": ["www 60 A 192.0.2.2 place country:DE"], "removed": ["www 60 A 192.0.2.1"]}
    }
    gone = diff(one, replace(one, zones=()))["account"]["zone example.com"]
    assert gone == {"added": [], "removed": ["ns1 192.0.2.53", "www 60 A 192.0.2.1"]}


def test_every_field_of_the_schema_is_a_fact() -> None:
    names = {name.partition(".")[0] for name in facts(site(domain(1)))}
    assert {name for name in Domain.__struct_fields__ if name != "id"} <= names
    assert Snapshot.__struct_fields__ == (
        "server_id", "uploads", "acme", "under_attack", "tunnels", "zones", "failover", "forwards",
        "flood", "cdns", "domains", "lists",
    )  # fmt: skip


def test_traffic_settings_that_were_never_set_before_are_changes() -> None:
    one = site(domain(1))
    two = site(domain(1, traffic=Traffic(health=Health(path="/up"), compression=True)))
    changes = changed_fields(one, two)
    assert changes["traffic.compression"] == {"before": False, "after": True}
    assert changes["traffic.health.path"] == {"before": None, "after": "/up"}
    assert changed_fields(two, one).keys() == changes.keys()


def test_rows_of_a_page_are_capped_and_say_so() -> None:
    one, deny = domain(1), {1: ("10.0.0.0/8", "192.0.2.0/24")}
    found = diff(snapshot(one, domain(3), deny=deny), snapshot(replace(one, policy=Policy(level="high")), domain(2)))
    rows, hidden = as_rows(found, domains_max=3, lines_max=1)
    assert ([(row["kind"], row["hostname"]) for row in rows], hidden) == (
        [("added", "d2.example"), ("removed", "d3.example"), ("changed", "d1.example")],
        0,
    )
    line = "address 127.0.0.1, port 9, weight 100, backup False, tls off, enabled True"
    assert rows[0]["fields"] == [("origins", [], [line], 0)]
    assert rows[1]["fields"] == [("origins", [line], [], 0)]
    assert rows[2]["fields"] == [("policy.level", ["medium"], ["high"], 0), ("lists.deny", ["10.0.0.0/8"], [], 1)]
    assert as_rows(found, domains_max=1, lines_max=1)[1] == 2
