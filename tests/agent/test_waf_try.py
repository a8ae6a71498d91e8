"""Trying a request: the verdict of the engine that runs on the shields, within limits."""

import pytest

from lumos_agent import waf_try
from lumos_agent.errors import AgentError
from lumos_agent.schema import Exclusion, Policy
from lumos_agent.waf_try import REQUEST_BYTES_MAX, judge

FORM = b"POST /admin/edit?x=1 HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n"
ATTACK = FORM + b"file=..%2F..%2Fetc%2Fpasswd&note=fine"


def test_attack_is_explained() -> None:
    trial = judge(ATTACK, Policy())
    assert trial.action == "block"
    assert {finding.rule for finding in trial.findings} == {"traversal-parameter", "traversal-system-file"}
    assert trial.score == sum(finding.score for finding in trial.findings)
    assert {(finding.place, finding.name) for finding in trial.findings} == {("form", "file")}
    assert all(finding.why.endswith(".") for finding in trial.findings)


@pytest.mark.parametrize(
    ("policy", "action"),
    [
        (Policy(mode="off"), "pass"),
        (Policy(mode="detect"), "detect"),
        (Policy(groups={"traversal": "off"}), "pass"),
        (Policy(groups={"traversal": "detect"}), "detect"),
        (Policy(mode="detect", groups={"traversal": "block"}), "block"),
        (Policy(exclusions=(Exclusion(rule="traversal"),)), "pass"),
        (Policy(exclusions=(Exclusion(rule="traversal-parameter"),)), "block"),
        (Policy(exclusions=(Exclusion(path="/admin"),)), "pass"),
        (Policy(exclusions=(Exclusion(path="/adm"),)), "block"),
        (Policy(exclusions=(Exclusion(parameter="file"),)), "pass"),
        (Policy(exclusions=(Exclusion(parameter="note"),)), "block"),
        (Policy(exclusions=(Exclusion(rule="sqli", path="/admin", parameter="file"),)), "block"),
        (Policy(exclusions=(Exclusion(rule="traversal", path="/admin/", parameter="file"),)), "pass"),
    ],
)
def test_policy_decides(policy: Policy, action: str) -> None:
    assert judge(ATTACK, policy).action == action


def test_exclusion_of_a_folder_cannot_be_borrowed() -> None:
    policy = Policy(exclusions=(Exclusion(path="/editor"),))
    for path in (b"/editor/../login", b"/editor/%2e%2e/login", b"/editor/..;/login", b"/editorial"):
        request = b"GET %s?f=../../etc/passwd HTTP/1.1\r\nHost: a.example\r\n\r\n" % path
        assert judge(request, policy).action == "block", path


def test_honest_request_passes() -> None:
    assert judge(FORM + b"note=time+he+came%3B+cat+and+dog", Policy(level="high")).action == "pass"
    assert judge(b"nonsense", Policy(level="high")).action == "pass"


@pytest.mark.parametrize(
    "request_text",
    [ATTACK, FORM + b"q=1%27+UNION+SELECT+password+FROM+users--", FORM + b"q=%3Cscript%3Ealert(1)%3C/script%3E", FORM],
)
def test_newer_interpreters_say_the_same(request_text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    here = judge(request_text, Policy())
    monkeypatch.setattr(waf_try, "LUA", "lua5.4")  # what HAProxy has from Debian 13 on
    assert judge(request_text, Policy()) == here


def test_too_large_a_request_is_refused() -> None:
    with pytest.raises(AgentError, match="at most"):
        judge(b"x" * (REQUEST_BYTES_MAX + 1), Policy())
