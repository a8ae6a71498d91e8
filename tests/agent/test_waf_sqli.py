"""SQL injection: each rule finds its attacks, and look-alikes of each rule pass at every level."""

import random
from pathlib import Path

from tests.agent.lua_rules import judge, missed, stopped

ATTACKS = {
    "sqli-union": [
        "7 union select name, secret from members",
        "x' UNION ALL SELECT null,null,null-- k",
        "7)) union distinct(select 1,2)",
        "7 /*!50000union*/ /*!50000select*/ 1",
        "7e0union select 1",
        "7%0bunion%0bselect%0b1",
        "7 union%23note%0aselect 1,2",
        "union select top 3 name from members",
        "7'union(select(1),2)#",
        "7 uni/**/on sel/**/ect 1,2",
    ],
    "sqli-union-words": ["about union select name from members"],
    "sqli-tautology": [
        "7 or 3=3",
        "x' or 'k'='k",
        'x" or ""="',
        "7) or (3=3",
        "7 and 3 between 1 and 5",
        "7 or 3 like 3",
        "x' and length(name)>3 or 'k'='k",
        "7 where 3=3",
        "x' or 2 in (1,2)-- ",
        "7%a0or%a03=3",
    ],
    "sqli-tautology-words": ["tell me whether and 3=3 is true"],
    "sqli-condition": ["7 and role='admin'", "x' or name like '%a", "x' and secret is not null--"],
    "sqli-beginning": ["or name = 'x'", "and 1", "in (1,2,3)", "7 or true"],
    "sqli-logic": [
        "x' or 1--",
        "x'='",
        "x'-0-'",
        "x'^0#",
        "x'+(select 1)+'",
        "7 and substr(name,1,1)",
        "7 or a=a--",
        "if(3=3,1,2)",
        "x'||'y'||'",
        "x' or true;--",
    ],
    "sqli-cast": ["(select name)::int", "'7'::json"],
    "sqli-stacked": [
        "7; drop table members",
        "x'; insert into members values (1)--",
        "7; exec master..xp_cmdshell 'dir'",
        "7;declare @a int",
        "x' grant connect to eve--",
        "7; update members set role=1",
        "7;shutdown--",
        "7;select pg_sleep(3)",
    ],
    "sqli-statement": [
        "select * from members where 1=1",
        "create table x (y int)",
        "declare @a varchar(9) select @a=1",
        "select version()",
        "exec sp_who",
        "delete from members where id=1",
    ],
    "sqli-statement-words": ["select name from members"],
    "sqli-function": [
        "7 and sleep(4)",
        "x'||pg_sleep(4)--",
        "7 waitfor delay '0:0:4'",
        "extractvalue(1,concat(0x7e,user()))",
        "utl_http.request('http://x')",
        "7 or benchmark(9999999,md5(1))",
        "7 procedure analyse(updatexml(1,2,3),1)",
        "load_file('/x')",
    ],
    "sqli-function-alone": ["sleep(4)"],
    "sqli-open-call": ["concat (", "substring("],
    "sqli-subselect": [
        "7 + (select name from members)",
        "(select 1)",
        "(select count(*) from t)",
        "(select @@version)",
    ],
    "sqli-clause": [
        "7 order by 4--",
        "x' order by 4#",
        "7) order by 4",
        "order by 4",
        "7 limit 1,1",
        "7 having 3=3",
        "x' into outfile '/tmp/x'--",
        "7 procedure analyse(1)",
        "x' group by name--",
    ],
    "sqli-clause-words": ["limit 1,1"],
    "sqli-case": ["7 or case when 3=3 then 1 else 2 end", "case when (3=3) then 1"],
    "sqli-char": ["char(65)+char(66)", "7||chr(65)||chr(66)"],
    "sqli-catalogue": ["select name from sqlite_master.x", "x' and (select 1 from information_schema.tables)='1"],
    "sqli-catalogue-name": ["information_schema", "pg_catalog"],
    "sqli-terminator": ["admin'--", "admin' #", "admin')--", 'admin"/*', "7)--"],
    "sqli-comment": ["7/*!or*/3", "drop/*x*/members", "7/**/or/**/3"],
    "sqli-fragment": ["x' or f(name)='k", "x') and (name)=(role)--", "x'/name--", "(cos(1) or 2)-- "],
}

HONEST = [
    # union, tautologies and conditions
    "select a size from the union catalogue",
    "how does union select work",
    "the European Union selects new members",
    "Union Jack, select print",
    "1 or 2",
    "black and white = grey",
    "this or that",
    "5 and 6 are left",
    "R&D and QA",
    "salt & pepper",
    "a || b",
    "project = LUM and status = open order by created",
    '"second hand" OR "used"',
    "title:(red OR blue) AND year:2020",
    "price gt 5 and price lt 10",
    "Name eq 'Meyer' and Age gt 30",
    "true or false?",
    "either 1 or true love",
    "in (2019) we moved",
    # quotes and what stands behind them
    "it's 5 o'clock",
    "O'Brien",
    "rock'n'roll",
    "rock 'n' roll, blues and soul",
    "don't stop 'til you get enough",
    "the dogs' party -- great",
    "it's or it isn't",
    "the 80's; the best of",
    "'hello' and 'world'",
    "name='x'",
    "he said 'or' and she said 'and'",
    "6'2\" tall",
    '12" vinyl and 7" single',
    "d'or -- l'or du temps",
    "l'union fait la force",
    "'tis the season -- or is it?",
    "x' = 2x",
    '{"a": "b", "c": 1}',
    '["a","b"]',
    "'",
    "Smith & Sons' shop",
    # statements, clauses, functions
    "drop table tennis set",
    "update the list; delete the old",
    "update software set",
    "create user stories for the sprint",
    "insert coin into slot",
    "select one of 3 options",
    "(select one)",
    "please select * from the menu",
    "begin; middle; end",
    "declare war on waste",
    "call me maybe",
    "wait for delay",
    "if (you) then me",
    "order by phone",
    "order by 5 pm",
    "group by 3 friends",
    "limit 10 per person",
    "having 2 dogs",
    "sleep (8 hours)",
    "benchmark (2024 edition)",
    "count (see below)",
    "char (fish)",
    "a left (or right) turn",
    "case when in doubt, ask",
    "in case when it rains",
    "procedure for returns",
    "put it into outfiles",
    "table_top games",
    "std::vector<int>",
    "fe80::1",
    "sqlite or mysql",
    # comments and signs
    "a -- b",
    "C# and F#",
    "#1 choice",
    "a/*/b/*/c",
    "/* style */ body",
    "1-2-3",
    "2024-01-01",
    "50% off",
    "a=b",
    "(1+2)*3",
    "1,2,3",
    "3*4=12",
    "+49 30 1234567",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
    "=SUM(A1:A5)",
    '=IF(A1=1,"x","y")',
    "https://example.com/a?b=c&d=e#f",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
    "@@CAMPAIGN@@",
    "user@example.com",
    "select",
    # documentation
    "`x' having a value of `3' and `y'",
    '"--verbose"',
    '"<your name>")',
    "run sleep.conf(5) first",
    "bigtable describe TABLE_NAME",
    'when "git add" (and "git rm") is run inside',
    'ranges where "begin" is the first of them',
    "'::Latin-ASCII'",
    "Call read_in() once",
]


def test_each_rule_finds_its_attacks(tmp_path: Path) -> None:
    assert not missed(tmp_path, "sqli", ATTACKS)


def test_look_alikes_pass_at_every_level(tmp_path: Path) -> None:
    assert not stopped(tmp_path, "sqli", HONEST)


def test_an_attack_behind_much_text_is_found(tmp_path: Path) -> None:
    padding = "lorem ipsum dolor " * 500
    texts = [padding + attack for attack in ("' or 3=3--", "1 union select 1,2", "1 waitfor delay '0:0:4'")]
    assert all(judge(tmp_path, "sqli", texts).found)


def test_hostile_values_cost_little(tmp_path: Path) -> None:
    seeds = [
        "'", '"', "(", ")", "/*", "*/", "/**/", "--", "# \n", "\\'", "''", "`", "[", "[a", "$", "$a$", "@", "=", "!", "a", "a.",
        "1", "0x", "1 or ", "' or ", "union ", "union select ", "select ", "(select ", "char(1)+", "case when ", ";select ",
        "f(", "::a", "&", ";", ",", "\0", "x" * 50 + " ",
    ]  # fmt: skip
    judged = judge(tmp_path, "sqli", [seed * (131072 // len(seed)) for seed in seeds])
    assert judged.slowest_seconds < 0.25


def test_random_tokens_raise_nothing(tmp_path: Path) -> None:
    chance = random.Random(8)
    tokens = [word for values in ATTACKS.values() for text in values for word in text.split()] + list(
        "'\"()/*-#;,=\0\\`[]{}@$"
    )
    texts = [chance.choice(("", " ")).join(chance.choices(tokens, k=chance.randint(1, 30))) for _ in range(3000)]
    assert len(judge(tmp_path, "sqli", texts).found) == len(texts)
