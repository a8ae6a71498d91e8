"""Scripts as nginx users write them, each with the answer that it must give."""

from typing import NamedTuple


class Case(NamedTuple):
    """A script, a request (sent `times` times), and the last answer: status, whole text, parts of it, some headers.

    The origin answers "hello" and the request as it saw it.
    """

    source: str
    path: str = "/"
    headers: tuple[str, ...] = ()
    body: bytes = b""
    status: int = 200
    text: str | None = None
    parts: tuple[str, ...] = ()
    answer: dict[str, str] = {}
    times: int = 1


CURL = "User-Agent: curl/8.5"
FORM = "Content-Type: application/x-www-form-urlencoded"

CASES = {
    "deny an address": Case('if ngx.var.remote_addr == "127.0.0.1" then return ngx.exit(ngx.HTTP_FORBIDDEN) end', status=403),
    "deny a user agent": Case(
        """
        local ua = ngx.var.http_user_agent or ""
        if string.find(string.lower(ua), "curl", 1, true) then
            ngx.log(ngx.WARN, "denied ", ua)
            ngx.exit(403)
        end
        """,
        headers=(CURL,),
        status=403,
    ),
    "let others pass": Case('if (ngx.var.http_user_agent or ""):match("curl") then ngx.exit(403) end', parts=("hello",)),
    "missing header": Case('if not ngx.var.http_x_api_key then ngx.exit(ngx.HTTP_UNAUTHORIZED) end', status=401),
    "api key": Case(
        'local keys = { ["k-1"] = "anna" }\nlocal who = keys[ngx.req.get_headers()["X-Api-Key"]]\n'
        "if not who then return ngx.exit(401) end\nngx.req.set_header('X-User', who)",
        headers=("x-api-key: k-1",),
        parts=("hello", "x-user: anna"),
    ),
    "rate limit": Case(
        """
        local limit = ngx.shared.limits
        local key = "rate:" .. ngx.var.binary_remote_addr
        local count, err = limit:incr(key, 1, 0, 60)
        if not count then
            ngx.log(ngx.ERR, "no counter: ", err)
            return
        end
        if count > 3 then
            ngx.header["Retry-After"] = 60
            ngx.status = 429
            ngx.say("slow down")
            return ngx.exit(429)
        end
        """,
        times=4,
        status=429,
        text="slow down\n",
        answer={"retry-after": "60"},
    ),
    "below the rate limit": Case('if ngx.shared.limits:incr("a", 1, 0, 60) > 3 then ngx.exit(429) end', times=3, parts=("hello",)),
    "maintenance": Case(
        "ngx.status = ngx.HTTP_SERVICE_UNAVAILABLE\nngx.header.content_type = 'text/html'\n"
        "ngx.say('<h1>Back soon</h1>')\nreturn ngx.exit(ngx.HTTP_SERVICE_UNAVAILABLE)",
        status=503,
        text="<h1>Back soon</h1>\n",
        answer={"content-type": "text/html"},
    ),
    "redirect": Case(
        'if ngx.var.scheme == "http" then return ngx.redirect("https://" .. ngx.var.host .. ngx.var.request_uri, 301) end',
        path="/a?b=%20c",
        status=301,
        answer={"location": "https://HOST/a?b=%20c"},
    ),
    "redirect for now": Case("ngx.redirect('/new')", status=302, answer={"location": "/new"}),
    "uri is decoded": Case("ngx.say(ngx.var.uri, ' ', ngx.var.request_uri)", path="/a/%62//c/../d%20e/?x=1",
                           text="/a/b/d e/ /a/%62//c/../d%20e/?x=1\n"),
    "variables": Case(
        "ngx.say(ngx.var.request_method, ' ', ngx.var.args, ' ', ngx.var.is_args, ' ', ngx.var.server_protocol, ' ', "
        "ngx.var.query_string, ' ', tostring(ngx.var.arg_missing), ' ', ngx.var.https, '|')",
        path="/?a=1&b=2",
        text="GET a=1&b=2 ? HTTP/1.1 a=1&b=2 nil |\n",
    ),
    "argument": Case("ngx.say(ngx.var.arg_name)", path="/?Name=anna%20b&x", text="anna%20b\n"),
    "cookie": Case("ngx.say(ngx.var.cookie_session)", headers=("Cookie: a=1; session=abc=d",), text="abc=d\n"),
    "uri args": Case(
        "local a = ngx.req.get_uri_args()\nngx.say(a.x[1], a.x[2], ' ', a.y, ' ', tostring(a.z))",
        path="/?x=1&x=2&y=%C3%BC+u&z",
        text="12 ü u true\n",
    ),
    "too many args": Case("local a, err = ngx.req.get_uri_args(2) ngx.say(tostring(a.c), ' ', err)", path="/?a=1&b=2&c=3",
                          text="nil truncated\n"),
    "body": Case(
        "ngx.req.read_body()\nlocal data = ngx.req.get_body_data()\nif data and data:find('evil', 1, true) then ngx.exit(403) end",
        headers=(FORM,),
        body=b"a=evil",
        status=403,
    ),
    "post args": Case("ngx.req.read_body() local p = ngx.req.get_post_args() ngx.say(p.user, '/', p.pass)",
                      headers=(FORM,), body=b"user=anna&pass=a%26b", text="anna/a&b\n"),
    "body passes on": Case("ngx.req.read_body() if #ngx.req.get_body_data() > 100 then ngx.exit(413) end",
                           headers=(FORM,), body=b"a=1", parts=("hello", "ontent-length: 3")),
    "headers": Case(
        "local h = ngx.req.get_headers()\nngx.say(h['user-agent'], ' ', h.host, ' ', h['User-Agent'], ' ', h.user_agent)",
        headers=(CURL,),
        text="curl/8.5 HOST curl/8.5 curl/8.5\n",
    ),
    "set and clear headers": Case(
        "ngx.req.set_header('X-One', {'a', 'b'}) ngx.req.clear_header('X-Two') ngx.req.set_header('X-Three', 3.0)",
        headers=("X-One: no", "X-Two: no"),
        parts=("x-one: a\r\nx-one: b\r\nx-three: 3",),
    ),
    "rewrite": Case("ngx.req.set_uri('/new path') ngx.req.set_uri_args({ b = 2, a = 'x y' })", path="/old?q=1",
                    parts=("GET /new%20path?a=x%20y&b=2 HTTP",)),
    "header of the origin's answer": Case("ngx.header['X-Frame-Options'] = 'DENY' ngx.header.content_type = 'text/x'",
                                          parts=("hello",), answer={"x-frame-options": "DENY", "content-type": "text/x"}),
    "several cookies": Case("ngx.header['Set-Cookie'] = {'a=1', 'b=2'} ngx.say(type(ngx.header.set_cookie)) ngx.exit(200)",
                            text="table\n"),
    "exit OK goes on": Case("if ngx.var.uri == '/' then ngx.exit(ngx.OK) end ngx.exit(403)", parts=("hello",)),
    "return goes on": Case("do return end ngx.exit(403)", parts=("hello",)),
    "regex match": Case(
        "local m, err = ngx.re.match(ngx.var.uri, [[^/user/(\\d+)(?:/(?<what>\\w+))?$]], 'jo')\n"
        "if m then ngx.say(m[0], ' ', m[1], ' ', m.what) else ngx.exit(404) end",
        path="/user/42/edit",
        text="/user/42/edit 42 edit\n",
    ),
    "regex find": Case("local from, to = ngx.re.find('hello, 1234', '([0-9]+)', 'jo') ngx.say(from, '-', to)", text="8-11\n"),
    "regex gsub": Case("local s, n = ngx.re.gsub('hello, world', '([a-z])[a-z]+', '[$0,$1]', 'i') ngx.say(s, ' ', n)",
                       text="[hello,h], [world,w] 2\n"),
    "regex sub with a function": Case(
        "local s = ngx.re.sub('a1b2', '[0-9]', function(m) return '<' .. m[0] .. '>' end) ngx.say(s)", text="a<1>b2\n"
    ),
    "regex gmatch": Case("for m in ngx.re.gmatch('k1=v1;k2=v2', '(\\\\w+)=(\\\\w+)') do ngx.print(m[1], ':', m[2], ' ') end",
                         text="k1:v1 k2:v2 "),
    "regex look-around": Case(
        "ngx.say(tostring(ngx.re.match('foobar', 'foo(?!bar)')), ngx.re.match('price: 30', '(?<=: )\\\\d+')[0])", text="nil30\n"
    ),
    "regex in any case": Case("if ngx.re.match(ngx.var.http_user_agent, '(sqlmap|nikto|nmap)', 'ijo') then ngx.exit(403) end",
                              headers=("User-Agent: SQLMap/1.0",), status=403),
    "bad regex": Case("local m, err = ngx.re.match('a', '(a') ngx.say(tostring(m), ' ', err ~= nil)", text="nil true\n"),
    "lua patterns": Case(
        "local s = 'key = value # x'\nlocal k, v = s:match('^(%w+)%s*=%s*(%w+)')\nngx.say(k, v, s:gsub('%s+', ''), "
        "(s:gsub('(%w+) = (%w+)', '%2=%1')))",
        text="keyvaluekey=value#xvalue=key # x\n",
    ),
    "split": Case("local t = {} for part in ('a,b,,c'):gmatch('[^,]+') do t[#t + 1] = part end ngx.say(table.concat(t, '|'))",
                  text="a|b|c\n"),
    "sort": Case("local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) ngx.say(table.concat(t, ' '))", text="3 2 1\n"),
    "digests": Case("ngx.say(ngx.md5('hello'), ' ', ngx.crc32_short('hello'), ' ', ngx.encode_base64(ngx.sha1_bin('hello')))",
                    text="5d41402abc4b2a76b9719d911017c592 907060870 qvTGHdzF6KLavt4PO0gs2a6pQ00=\n"),
    "basic authorization": Case(
        """
        local header = ngx.var.http_authorization or ""
        local encoded = header:match("^Basic%s+(.+)$")
        local decoded = encoded and ngx.decode_base64(encoded)
        if decoded ~= "anna:secret" then
            ngx.header["WWW-Authenticate"] = 'Basic realm="site"'
            return ngx.exit(ngx.HTTP_UNAUTHORIZED)
        end
        """,
        status=401,
        answer={"www-authenticate": 'Basic realm="site"'},
    ),
    "basic authorization passes": Case(
        "if ngx.decode_base64(ngx.var.http_authorization:sub(7)) ~= 'anna:secret' then ngx.exit(401) end",
        headers=("Authorization: Basic YW5uYTpzZWNyZXQ=",),
        parts=("hello",),
    ),
    "signed link": Case(
        """
        local args = ngx.req.get_uri_args()
        local wanted = ngx.encode_base64(ngx.hmac_sha1("key", ngx.var.uri .. args.expires))
        if args.sign ~= wanted or tonumber(args.expires) < ngx.time() then
            return ngx.exit(ngx.HTTP_FORBIDDEN)
        end
        """,
        path="/file?expires=4102444800&sign=x",
        status=403,
    ),
    "escape": Case("ngx.say(ngx.escape_uri('a b&ü'), ' ', ngx.unescape_uri('a%20b+c'), ' ', ngx.encode_args({a = '1 2', b = true}))",
                   text="a%20b%26%C3%BC a b c a=1%202&b\n"),
    "time": Case("ngx.say(ngx.time() > 1.6e9, ' ', ngx.now() >= ngx.time(), ' ', #ngx.today(), ' ', #ngx.localtime(), ' ', "
                 "ngx.http_time(1547178289), ' ', ngx.parse_http_time('Fri, 11 Jan 2019 03:44:49 GMT'))",
                 text="true true 10 19 Fri, 11 Jan 2019 03:44:49 GMT 1547178289\n"),
    "dictionary": Case(
        """
        local d = ngx.shared.cache
        d:set("n", 1) d:set("s", "text", 10, 7) d:set("b", true)
        local ok, err = d:add("n", 2)
        local value, flags = d:get("s")
        ngx.say(d:get("n"), value, flags, tostring(d:get("b")), tostring(ok), err, tostring(d:get("missing")))
        d:delete("n") d:replace("s", "new")
        ngx.say(tostring(d:get("n")), d:get("s"), select(2, d:incr("s", 1)), (d:incr("c", 2.5, 1)))
        """,
        text="1text7truefalseexistsnil\nnilnewnot a number3.5\n",
    ),
    "dictionary expires": Case(
        "local d = ngx.shared.cache if d:get('seen') then ngx.say('seen ', d:ttl('seen') <= 100) else d:set('seen', 1, 100) ngx.say('new') end",
        times=2,
        text="seen true\n",
    ),
    "ctx and globals": Case("ngx.ctx.a = (ngx.ctx.a or 0) + 1 count = (count or 0) + 1 ngx.say(ngx.ctx.a, count)", times=3, text="11\n"),
    "functions and closures": Case(
        """
        local Bucket = {}
        Bucket.__index = Bucket
        function Bucket.new(size) return setmetatable({ size = size, used = 0 }, Bucket) end
        function Bucket:take(n) self.used = self.used + n return self.used <= self.size end
        local b = Bucket.new(2)
        ngx.say(tostring(b:take(1)), tostring(b:take(1)), tostring(b:take(1)))
        """,
        text="truetruefalse\n",
    ),
    "coroutines": Case(
        "local co = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end)\n"
        "ngx.say(co(), co(), co())",
        text="123\n",
    ),
    "coroutine with a dictionary": Case(
        "local co = coroutine.create(function(a) ngx.shared.d:set('x', a) local b = coroutine.yield(ngx.shared.d:get('x')) return b .. '!' end)\n"
        "local _, one = coroutine.resume(co, 'p') local _, two = coroutine.resume(co, 'q') ngx.say(one, two)",
        text="pq!\n",
    ),
    "pcall": Case("local ok, err = pcall(error, { code = 7 }) ngx.say(tostring(ok), err.code, select(2, pcall(function() error('x') end)))",
                  text="false7script:1: x\n"),
    "numbers as in nginx": Case("ngx.say(10 / 2, ' ', 2 ^ 3, ' ' .. 7 / 2, ' ', math.floor(3.7), ' ', 1e3)", text="5 8 3.5 3 1000\n"),
    "bits": Case("ngx.say(bit.band(12, 10), ' ', bit.bor(12, 10), ' ', bit.bxor(12, 10), ' ', bit.lshift(1, 4), ' ', bit.bnot(0))",
                 text="8 14 6 16 -1\n"),
    "goto": Case("for i = 1, 4 do if i % 2 == 0 then goto continue end ngx.print(i) ::continue:: end", text="13"),
    "long strings and escapes": Case("local s = [==[\na]]b]==] .. '\\65\\x42\\n' --[[ no ]] ngx.print(s, #'\\z  x')", text="a]]bAB\n1"),
    "tables in say": Case("ngx.say({ 'a', { 'b', 1 } }, ' ', nil, true)", text="ab1 niltrue\n"),
    "country": Case("if ngx.var.geoip_country_code == 'DE' then ngx.exit(403) end", parts=("hello",)),
    "bot trap": Case(
        """
        local uri, traps = ngx.var.uri, { "/wp%-login%.php$", "/%.env$", "/phpmyadmin" }
        for _, trap in ipairs(traps) do
            if uri:lower():find(trap) then
                ngx.shared.banned:set(ngx.var.remote_addr, true, 300)
            end
        end
        if ngx.shared.banned:get(ngx.var.remote_addr) then return ngx.exit(ngx.HTTP_FORBIDDEN) end
        """,
        path="/.env",
        status=403,
    ),
    "method": Case("if ngx.req.get_method() ~= 'POST' then ngx.header.allow = 'POST' ngx.exit(ngx.HTTP_NOT_ALLOWED) end",
                   status=405, answer={"allow": "POST"}),
    "user variables": Case("ngx.var.mine = 5 ngx.say(ngx.var.mine, ' ', pcall(function() ngx.var.uri = '/x' end))",
                           text='5 falsescript:1: variable "uri" not changeable\n'),
}  # fmt: skip
