"""Zone files: what comes in comes out, what cannot be served is named."""

import pytest

from domains import zone_file, zones
from domains.zone_file import Refused, export_zone_file, import_zone_file
from domains.zone_models import Zone, ZoneRecord
from domains.zone_rules import RecordData
from lumos.errors import InvalidInput
from tests.factories import Tenant

pytestmark = pytest.mark.django_db

FILE = """\
$ORIGIN alice.example.
$TTL 1h
@   IN SOA ns1.old.example. hostmaster.old.example. 2024010101 7200 900 1209600 300
    IN NS ns1.old.example.
    IN MX 10 mail
    IN TXT "v=spf1 mx -all" ; a comment
mail 60 IN A 192.0.2.25
www     CNAME @
long    TXT ( "part one "
              "part two" )
svc     SVCB 1 . alpn=h2
old     HINFO "PC" "DOS"
"""


@pytest.fixture
def zone(alice: Tenant) -> Zone:
    with alice.scope:
        alice.server.public_ipv4 = "192.0.2.10"
        alice.server.save()
        return zones.add_zone(name="alice.example", servers=[alice.server], actor=alice.owner)


def rows(zone: Zone) -> set[tuple[str, str, str, int]]:
    return {(r.name, r.type, r.data, r.ttl) for r in ZoneRecord.objects.filter(zone=zone)}


def test_file_is_taken_over_and_what_cannot_be_served_is_named(alice: Tenant, zone: Zone) -> None:
    with alice.scope:
        would = import_zone_file(zone_id=zone.pk, text=FILE, actor=alice.owner, dry_run=True)
        assert not rows(zone)
        done = import_zone_file(zone_id=zone.pk, text=FILE, actor=alice.owner)
        assert would == done
        assert (done.added, done.removed, done.kept) == (5, 0, 0)
        assert [refused.record.split()[1] for refused in done.refused] == ["SVCB", "HINFO"]
        assert isinstance(done.refused[0], Refused)
        assert rows(zone) == {
            ("@", "MX", "10 mail.alice.example.", 3600),
            ("@", "TXT", '"v=spf1 mx -all"', 3600),
            ("mail", "A", "192.0.2.25", 60),
            ("www", "CNAME", "alice.example.", 3600),
            ("long", "TXT", '"part one " "part two"', 3600),
        }


LOOK_ALIKES = """\
svc         HTTPS 1 . alpn="h2,h3" ipv4hint=192.0.2.9
svc         TYPE64 \\# 3 000100
svc         TYPE65280 \\# 4 C0000209
www         HTTPS 0 evil.example.
_443._https TXT "1 . alpn=h2"
svcb        TXT "SVCB 1 . ipv4hint=192.0.2.9" "\\# 4 C0000209"
octets      TYPE1 \\# 4 C0000207
octets      TXT \\# 4 03612262
dot\\.ted    A 192.0.2.9
"""


def test_look_alikes_of_services_and_octets_touch_nothing_else(alice: Tenant, zone: Zone) -> None:
    with alice.scope:
        www = ("www", "A", "192.0.2.1", 300)
        import_zone_file(zone_id=zone.pk, text="www A 192.0.2.1", actor=alice.owner)
        done = import_zone_file(zone_id=zone.pk, text=LOOK_ALIKES, actor=alice.owner)
        refused = [one.record.split()[1] for one in done.refused]
        assert sorted(refused) == ["A", "HTTPS", "HTTPS", "SVCB", "TYPE65280"]
        assert all(one.message for one in done.refused)
        assert rows(zone) == {
            www,
            ("_443._https", "TXT", '"1 . alpn=h2"', 300),
            ("svcb", "TXT", '"SVCB 1 . ipv4hint=192.0.2.9" "# 4 C0000209"', 300),
            ("octets", "A", "192.0.2.7", 300),
            ("octets", "TXT", '"a\\"b"', 300),
        }


def test_export_is_imported_to_the_same_records(alice: Tenant, zone: Zone) -> None:
    with alice.scope:
        import_zone_file(zone_id=zone.pk, text=FILE, actor=alice.owner)
        given = RecordData(name="p", type="PROXIED", data="all")
        zones.add_record(zone_id=zone.pk, given=given, actor=alice.owner)
        zone.refresh_from_db()
        text = export_zone_file(zone)
        assert "\nns1 3600 IN A 192.0.2.10\n" in text
        assert "\n; p 300 IN PROXIED all\n" in text
        done = import_zone_file(zone_id=zone.pk, text=text, actor=alice.owner, mode="replace")
        assert (done.added, done.removed, done.kept, done.refused) == (0, 0, 6, [])


def test_replacing_keeps_what_a_file_cannot_say(alice: Tenant, zone: Zone) -> None:
    with alice.scope:
        import_zone_file(zone_id=zone.pk, text=FILE, actor=alice.owner)
        given = RecordData(name="p", type="PROXIED", data="all")
        zones.add_record(zone_id=zone.pk, given=given, actor=alice.owner)
        done = import_zone_file(zone_id=zone.pk, text="x A 192.0.2.1", actor=alice.owner, mode="replace")
        assert (done.added, done.removed, done.kept) == (1, 5, 1)
        assert {r[:2] for r in rows(zone)} == {("p", "PROXIED"), ("x", "A")}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x A 192.0.2.1\n$INCLUDE /etc/passwd", "Near line 2: "),
        ("$GENERATE 1-9 h$ A 192.0.2.$", "Near line 1: "),
        ("x A 192.0.2.999", "Near line "),
        ("x A 192.0.2.1\nx CNAME y", "CNAME"),
        ("x HTTPS 1 . alpn", "Near line "),
        ("x TYPE65 \\# 5 000100", "Near line "),
        ('x TXT "a', "newline in quoted string"),
        ("a" * (zone_file.TEXT_MAX + 1), "The file has "),
    ],
)
def test_what_is_no_zone_file_changes_nothing(alice: Tenant, zone: Zone, text: str, says: str) -> None:
    with alice.scope:
        with pytest.raises(InvalidInput) as refused:
            import_zone_file(zone_id=zone.pk, text=text, actor=alice.owner)
        assert says in refused.value.detail
        assert not rows(zone)
