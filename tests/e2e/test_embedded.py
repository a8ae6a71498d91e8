"""The embedded profile, which `make run` starts: SQLite, every page that links lead to, and a stop that leaves nothing."""

import html
import re

import pytest
from playwright.sync_api import sync_playwright

from bench.common import Api
from deploy.stack import Stack, marked
from tests.e2e.test_walking_path import ATTACK, CHROMIUM, shield, sign_in, started, until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("stack"), pytest.mark.timeout(300)]


def walked(stack: Stack) -> dict[str, int]:
    """Return {path: status} of every page that links lead to from the first one, each once whatever is asked of it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        page = browser.new_page()
        sign_in(page, stack)
        found, left = {}, ["/"]
        while left:
            link = left.pop()
            path = link.partition("?")[0]
            if path in found:
                continue
            answer = page.request.get(stack.web + link)
            found[path] = answer.status
            if answer.headers.get("content-type", "").startswith("text/html"):
                left += map(html.unescape, re.findall(r'<a[^>]* href="(/[^"#]*)', answer.text()))
        browser.close()
    return found


def test_embedded_profile_and_a_stop_that_leaves_nothing() -> None:
    with started("embedded") as made:
        assert shield(made, "/")[0] == 200
        assert shield(made, ATTACK)[0] == 403
        api = Api(made)
        assert until(lambda: api.call("GET", "/events")["results"], 10)
        (rule, *_) = api.call("GET", "/events")["results"][0]["rules"]
        assert api.call("GET", f"/events?rule={rule}")["results"]
        assert api.call("GET", "/events?rule=other")["results"] == []
        pages = walked(made)
        assert {path: status for path, status in pages.items() if status != 200} == {}
        assert {"/events", "/analytics", f"/domains/{made.secrets['domain']}/waf/script"} <= pages.keys()
        folder = str(made.folder)
    assert marked(folder) == []
