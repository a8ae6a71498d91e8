"""Lines of domains."""

import pytest

from domains.bulk import parsed_lines


def read(text: str) -> list[tuple[str, str, int, str]]:
    document, errors = parsed_lines(text, ("s",), frozenset({"taken.example"}))
    assert errors == []
    return [
        (d.hostname, o.address, o.port, o.tls)
        for d in document.domains or ()
        for o in d.origins or ()
        if d.servers == ("s",)
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("www.example.com 203.0.113.7", ("www.example.com", "203.0.113.7", 80, "off")),
        ("WWW.Example.com. 203.0.113.7:8080", ("www.example.com", "203.0.113.7", 8080, "off")),
        ("a.example\torigin.example https", ("a.example", "origin.example", 443, "on")),
        ("a.example,origin.example,8443,verify", ("a.example", "origin.example", 8443, "verify")),
        ('"a.example";"10.0.0.1";"81"', ("a.example", "10.0.0.1", 81, "off")),
        ("*.a.example [2001:DB8::1]:8080 http", ("*.a.example", "2001:db8::1", 8080, "off")),
        ("a.example 2001:db8::1", ("a.example", "2001:db8::1", 80, "off")),
        ("a.example [::1] https # the old one", ("a.example", "::1", 443, "on")),
    ],
)
def test_spellings(line: str, expected: tuple[str, str, int, str]) -> None:
    assert read(f"# comment\r\nhostname,origin\r\n\r\n{line}\r\n") == [expected]


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("a.example", "no origin"),
        ("nonsense 10.0.0.1", "hostname"),
        ("a.example 169.254.1.1", "cannot be an origin"),
        ("a.example 10.0.0.1:0", "port"),
        ("a.example 10.0.0.1:99999999999", "port"),
        ("a.example 10.0.0.1:", "port"),
        ("a.example 10.0.0.1:80 81", "not known"),
        ("a.example 10.0.0.1 ftp", "not known"),
        ("ok.example 10.0.0.1", "on line 1"),
        ("TAKEN.example 10.0.0.1", "exists"),
    ],
)
def test_mistakes_carry_their_line(line: str, hint: str) -> None:
    document, errors = parsed_lines(f"ok.example 10.0.0.1\n\n{line}", (), frozenset({"taken.example"}))
    assert [(e.line, e.text) for e in errors] == [(3, line)]
    assert hint in errors[0].message
    assert len(document.domains or ()) == 1
