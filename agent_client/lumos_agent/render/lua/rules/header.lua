-- Line breaks in values that become lines of a protocol: HTTP headers, mail commands; and cookies set through values.
local find, sub, match = string.find, string.sub, string.match

local MATCHED_BYTES = 128

local RULES = {
  field = { id = "header-field", score = 8,
    why = "A line break and the name of an HTTP header: the value writes headers of its own." },
  odd = { id = "header-line", score = 5,
    why = "A line break and a header-like line in a value that holds a single line." },
  split = { id = "header-split", score = 9, why = "A line break and a status or request line: a second HTTP message." },
  cookie = { id = "header-cookie", score = 6,
    why = "The value sets a cookie: Set-Cookie:, document.cookie or a meta tag." },
  mail = { id = "header-mail", score = 7, why = "A line break and a command or header of a mail protocol." },
  command = { id = "header-mail-command", score = 5,
    why = "The value is nothing but a command of a mail protocol on a line of its own." },
  session = { id = "header-session", score = 3,
    why = "A link from elsewhere carries a session cookie as a parameter, which fixes the visitor's session." },
  name = { id = "header-name", score = 5,
    why = "A line break in a parameter's name, or a second parameter behind it." },
  path = { id = "header-path", score = 5, why = "A line break in a path, which no link has." },
  markup = { id = "header-markup", score = 6, why = "An empty line and markup in a cookie or header: the page of a second answer." },
}

local function set(text)
  local result = {}
  for word in string.gmatch(text, "%S+") do result[word] = true end
  return result
end

local FIELDS = set([[
set-cookie set-cookie2 location content-type contenttype content-length contentlength content-disposition
content-encoding refresh transfer-encoding
x-xss-protection access-control-allow-origin x-forwarded-for x-forwarded-host host cache-control last-modified
www-authenticate
remote-addr status link content-security-policy
]])
local MAIL = set("bcc cc to subject from reply-to mime-version x-mailer")
local METHODS = set("get post put delete head options patch trace connect")
-- Single-line places: a line break has no business there.
local SINGLE = { query = true, header = true, cookie = true, name = true, segment = true, path = true, filename = true }

local COMMANDS = {
  "^rcpt%s+to:", "^mail%s+from:", "^ehlo%s+[%w.%[]", "^helo%s+[%w.%[]", "^vrfy%s+%S", "^expn%s+%S",
  "^auth%s+%S+%s+%S+$", "^starttls%s*$",
  "^retr%s+%d+%s*$", "^dele%s+%d+%s*$", "^top%s+%d+%s+%d+%s*$", "^list%s+%d+%s*$", "^uidl%s*%d*%s*$", "^stat%s*$",
  "^capa%s*$", "^%w+%s+capability%s*$",
  "^%w+%s+fetch%s+[%d:*]+", "^%w+%s+login%s+%S+%s+%S+$", "^%w+%s+select%s+\"?inbox", "^%w+%s+append%s+%S",
  "^%w+%s+logout%s*$", "^quit%s*[\r\n]", "^data%s*[\r\n]",
  "^rset%s*[\r\n]", "^noop%s*[\r\n]", "^user%s+%S+%s*[\r\n]", "^%w+%s+examine%s+%S+", "^%w+%s+search%s+%u",
  "^apop%s+%S+%s+%x+%s*$", "^%w+%s+lsub%s+\"",
  "^%w+%s+create%s+\"?inbox",
}

local function has(text, mark)
  return find(text, mark, 1, true) ~= nil
end

local function snippet(text, at)
  return sub(text, at, at + MATCHED_BYTES - 1)
end

local LINES_MAX = 400

local function judge_line(value, at, line, report)
  local is_single = SINGLE[value.place]
  local name, after = match(line, "^%s*([%a][%w%-]+)%s*:()")
  if name and FIELDS[name] and (is_single or find(line, "^%s*set%-cookie2?%s*:%s*%w+=")) and #line < 512 then
    report(RULES.field, snippet(value.text, at))
    return true
  end
  if find(line, "^%s*http/[%d.]+%s+%d%d%d") or METHODS[match(line, "^(%l+)%s") or ""]
    and find(line, "^%l+%s+%S+%s+http/%d") then
    report(RULES.split, snippet(value.text, at))
    return true
  end
  if name and MAIL[name] and find(line, "^%s*[%w%.%-+_\"<>]+@[%w.-]+", after) and (is_single or name == "bcc") then
    report(RULES.mail, snippet(value.text, at))
    return true
  end
  if is_single and name and #value.text < 300 and find(line, "^[%a]+%-[%a%-]+%s*:%s*%S") then
    report(RULES.odd, snippet(value.text, at))
    return true
  end
  return false
end

local function judge_command(value, at, report)
  local rest = sub(value.text, at, at + 200)
  for index, pattern in ipairs(COMMANDS) do
    if find(rest, pattern) then
      report(index <= 2 and RULES.mail or RULES.command, snippet(value.text, at))
      return true
    end
  end
end

local function judge_breaks(value, report)
  local text, at = value.text, 1
  if #text <= 200 then
    local _, stop = find(text, "^[^\r\n]?[^\r\n]*[\r\n]+%s*")
    if stop and (find(text, "^[%s]*[\r\n]") or SINGLE[value.place]) and judge_command(value, stop + 1, report)
      then return end
  end
  for _ = 1, LINES_MAX do
    local first, stop = find(text, "[\r\n]+", at)
    if not first then return end
    local line = match(text, "^[^\r\n]*", stop + 1)
    if judge_line(value, stop + 1, line, report) then return end
    at = stop + 1
  end
end

local function judge(value, report)
  local text = value.text
  if value.place == "session" then report(RULES.session, snippet(value.name, 1)) end
  if find(text, "[\r\n]") then
    judge_breaks(value, report)
    if value.place == "name" and find(text, "^[%w_.]*[\r\n]") or value.place == "query"
      and find(text, "^[%w_]+[\r\n]+[%w_]+=[%w_]+$") then
      report(RULES.name, snippet(text, 1))
    end
    if value.place == "path" then report(RULES.path, snippet(text, 1)) end
    local at = (value.place == "cookie" or value.place == "header") and find(text, "\n\r?\n[ \t]*<[%a!]")
    if at then report(RULES.markup, snippet(text, at)) end
  end
  if not has(text, "cookie") and not has(text, "\xE5\x98") and not has(text, " http/") then return end
  local at = find(text, "set%-cookie2?:%s*[%w_%-]+=")
  if at and not find(text, "[\r\n]") then report(RULES.cookie, snippet(text, at)) end
  at = has(text, "cookie") and (find(text, "document%.cookie%s*=[^=]")
    or find(text, "http%-equiv%s*=?[\"'%s]*set%-cookie") or find(text, "%.cookie%s*=%s*[\"'][%w_%-]+=")
    or find(text, "%.cookie[;\"' ]*expires")) or has(text, "\xE5\x98") and find(text, "\xE5\x98[\x8A\x8D]%s*[%a%-]+:")
  if at then report(RULES.cookie, snippet(text, at)) end
  if find(text, "^%s*%l+ https?://%S+ http/%d") and METHODS[match(text, "^%s*(%l+)") or ""] then
    report(RULES.split, snippet(text, 1))
  end
end

local function gate(value)
  local text = value.text
  if find(text, "[\r\n]") or value.place == "session" then return true end
  return find(text, "cookie", 1, true) ~= nil or find(text, "\xE5\x98", 1, true) ~= nil or find(text, " http/", 1,
    true) ~= nil
end

return {
  group = "header", rules = RULES, gate = gate, judge = judge, words = true,
  about = "Line breaks that add lines to HTTP answers or mails, and cookies set through values.",
}
