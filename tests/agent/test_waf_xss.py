"""Cross-site scripting: each rule finds its attacks, and look-alikes of each rule pass at every level."""

import random
from pathlib import Path

import pytest

from tests.agent.lua_rules import judge, missed, stopped

ATTACKS = {
    "xss-script": [
        "<script>f()</script>",
        "<SCRIPT src=//x.example>",
        "<scr\0ipt>f()",
        "\xbcscript\xbe f()",
        "< script >",
    ],
    "xss-handler": [
        "<img src=x onerror=f()>",
        "<b onanything=1>",
        "<svg/onload=f()",
        "<a\x0bonclick=f()>",
        "<x onfocus = 'f()' autofocus>",
        "<img src='a' onerror\t=\tf()>",
    ],
    "xss-attribute": [
        '" onmouseover="f()',
        "' onfocus=f() autofocus '",
        "x onclick=f()",
        '"/onload=f()//',
    ],
    "xss-attribute-words": ['" onclick=go'],
    "xss-address": [
        "<a href=javascript:f()>",
        "<a href='java\tscript:f()'>",
        '<iframe src="data:text/html,hello">',
        "<a href='&#106;avascript:f()'>",
        "<form action=vbscript:f>",
    ],
    "xss-address-alone": [
        "javascript:f()",
        "  JavaScript:f(1)//",
        "data:text/html;base64,PGI+",
        "'javascript:f()",
        "x url=javascript:f(1)",
    ],
    "xss-frame": ["<iframe srcdoc=x>", "<object data=x>", "<embed src=//x>", "<b srcdoc=x>"],
    "xss-frame-plain": ["<iframe src=https://x.example/a>", "<iframe>"],
    "xss-document": ["<base href=//x>", "<meta http-equiv=refresh content=0>", "<link rel=stylesheet href=//x>"],
    "xss-style": [
        "<b style='x:expression(f())'>",
        "<b style='x:exp/**/ression(f())'>",
        "<style>@import '//x';</style>",
        "<b style='-moz-binding:url(//x)'>",
    ],
    "xss-style-element": ["<style>b {}</style>", "<b style='a;}'>"],
    "xss-svg": ["<svg>x", "<math>x"],
    "xss-animation": ["<animate attributename=href values=x>"],
    "xss-legacy": ["<bgsound src=x>", "<img dynsrc=x>", "<xml id=x>"],
    "xss-form": ["<form action=//x>", "<button formaction=//x>"],
    "xss-input": ["<input name=x>"],
    "xss-page": ["<body>x"],
    "xss-image": ["<img src=x>"],
    "xss-closing": ["</script>x", "</title>x", "a</textarea>"],
    "xss-breakout": ['x"><b>', "x'/>y"],
    "xss-conditional": ["<!--[if IE]>x", "<xi:include href=x>"],
    "xss-utf7": ["+ADw-b+AD4-f"],
    "xss-call": [
        "alert(1)",
        "confirm`1`",
        "prompt(document.domain)",
        "x;alert ('x')",
        "(alert)(1)",
        "[1].map(x=alert)",
    ],
    "xss-evaluate": ["eval('x')", "setTimeout('f()')", "Function`x`", "new Function('x')()", "import('//x')"],
    "xss-hidden": ["String.fromCharCode(88)", "eval(atob('eA=='))", "x[/al/.source]", "Reflect.apply(x)"],
    "xss-constructor": ["[].filter.constructor('x')()", "x.constructor.constructor('f()')()", "''['constructor']"],
    "xss-dom": ["document.cookie", "document . cookie", "location='//x'", "x.innerHTML=y", "document['cookie']"],
    "xss-throw": ["throw'x'+f()"],
    "xss-computed": ["top['al'+'ert'](1)", "window['x'](1)", "self[/*x*/'alert'](2)", "this['f']`1`"],
    "xss-punctuation": ["[][(![]+[])[+[]]+(![]+[])[!+[]+!![]]]()"],
    "xss-left-string": ["'-f(1)-'", '";f(1)//', "');f('x')//", "'+f(2)+'"],
}

HONEST = [
    # HTML of editors
    "<p>Hello <b>you</b> and <i>me</i><br/></p>",
    '<a href="https://example.com/a?b=c" target="_blank">link</a>',
    '<img src="https://example.com/a.png" alt="x" width="10">',
    '<img src="data:image/png;base64,iVBORw0KGgo=">',
    '<div class="a"><span style="color: red; font-size: 12px">x</span></div>',
    '<span style="background: url(https://example.com/a.png)">x</span>',
    "<ul><li>one</li><li>two</li></ul>",
    "<table><tr><td>1</td></tr></table>",
    "<h2>Title</h2><blockquote>quote</blockquote>",
    "<!-- comment -->",
    "<jack> hello <jill> hi",
    "a <- b <= c",
    "1 < 2 > 0",
    "x<y and y>z",
    "<3",
    "->",
    "<mail@example.com>",
    "List<String> names",
    "<script",
    "base <object>",
    # handlers
    "online=true",
    "only=1",
    "on = off",
    "https://example.com/api.js?onload=start&render=explicit",
    "the season = winter",
    "once=1&on=2",
    "action=submit",
    "conversion=1",
    # addresses
    "javascript:;",
    "javascript:void(0)",
    "javascript:void(0);",
    "javascript:",
    "JavaScript: the good parts",
    '{"href":"javascript:;","id":"a"}',
    "data: 12 rows",
    "data:image/png;base64,iVBORw0KGgo=",
    "https://example.com/javascript:intro",
    # script
    "alert (see below)",
    "an alert, a prompt and a confirm",
    "prompt(s) and alert(s)",
    "confirm (or cancel)",
    "please confirm(ed) by mail",
    "evaluate (x)",
    "medieval (old)",
    "function (x)",
    "the document is here",
    "documents.location",
    "location=Berlin",
    "my location = home",
    "window [left] and door",
    "top [10] list",
    "self-made [and] (new)",
    "the constructor of the house",
    "throw the ball",
    "fetch (the dog)",
    "import (goods)",
    "[] or {}",
    "a[0] = b[1]",
    "price (in $) is `10`",
    "'tis (the) season",
    "'a'-'b'",
    "it's - well (you know)",
    "{{ name }}",
    "${amount}",
    "[x](https://example.com)",
    "- [ ] todo\n- [x] done",
    "`code` and **bold**",
    "ICE-ADw",
    "\xbc cup of sugar",
    "1\xbccup",
    "style: none",
    'he said "x" > y',
    "a 'b' > c",
    # documentation
    "#include <math.h>",
    "usage: tool [options] <input files>",
    "copy --location=LOCATION --name=NAME",
    "levels: crit, alert, emerg",
    "lang.reflect.FieldUtils.read(x)",
]


def test_each_rule_finds_its_attacks(tmp_path: Path) -> None:
    assert not missed(tmp_path, "xss", ATTACKS)


def test_look_alikes_pass_at_every_level(tmp_path: Path) -> None:
    assert not stopped(tmp_path, "xss", HONEST)


@pytest.mark.parametrize("padding", ["lorem ipsum dolor " * 5000, "<b>x</b> " * 5000, "a=b " * 5000])
def test_an_attack_behind_much_text_is_found(tmp_path: Path, padding: str) -> None:
    texts = [padding + attack for attack in ("<script>f()</script>", "<img src=x onerror=f()>", "<svg onload=f()>")]
    assert all(judge(tmp_path, "xss", texts).found)


def test_hostile_values_cost_little(tmp_path: Path) -> None:
    seeds = [
        "<", "<a", "<a ", "<a b='", '<a b="x" ', "</a", "<!--", "<style", "on", "on=", "onerror=", "onload=1 ", "= ", "javascript:",
        "data:", "document", "document.", "alert", "alert(", "constructor.", "[]", "![]", "'-a(", '"', "'", "`", "(", "window[",
        "\xbca", "/*", "\0", "top[a](", "<a style='", "&", "<svg ", "script:",
    ]  # fmt: skip
    judged = judge(tmp_path, "xss", [seed * (131072 // len(seed)) for seed in seeds])
    assert judged.slowest_seconds < 0.25


def test_random_tokens_raise_nothing(tmp_path: Path) -> None:
    chance = random.Random(8)
    tokens = [word for values in ATTACKS.values() for text in values for word in text.split()] + list(
        "'\"()/*-<>;,=\0\\`[]{}"
    )
    texts = [chance.choice(("", " ")).join(chance.choices(tokens, k=chance.randint(1, 30))) for _ in range(3000)]
    assert len(judge(tmp_path, "xss", texts).found) == len(texts)
