-- Binds custom rules to a pipe: the rules, then requests of eight fields each, all as "length\nbytes". Answers each request with
-- "rule id or -" and the rules that log, in one line.
local conditions = require("conditions")
local fields = require("fields")

local function field()
  local length = io.read("n")
  if not length then return nil end
  io.read(1)
  return length == 0 and "" or io.read(length)
end

local rules, now = conditions.parse(field()), tonumber(field())
for address in field do
  local request = { method = field(), path = field(), query = field(), body = "", headers = {} }
  request.headers[1], request.headers[2] = { "host", field() }, { "user-agent", field() }
  request.country, request.asn = field(), field()
  local rule, logged = conditions.decide(rules, conditions.request(address, fields.reader(request)), now)
  io.write(rule and rule.id or "-", " ", table.concat(logged, " "), "\n")
end
