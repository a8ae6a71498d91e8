-- Custom rules: what conditions.py compiled, as functions of a request. Pure: no HAProxy in here.
local regex = require("regex")

local conditions = {}

local char, find, gmatch, gsub, lower, match, sub = string.char, string.find, string.gmatch, string.gsub, string.lower, string.match, string.sub

local CACHED_MAX = 256

local cache, cached = {}, 0

local function plain(text)
  return (gsub(text, "%%(%x%x)", function(hex) return char(tonumber(hex, 16)) end))
end

local function hex_of_groups(text, groups)
  for group in gmatch(text, "[^:]+") do groups[#groups + 1] = string.format("%04x", tonumber(group, 16) or 0) end
  return groups
end

-- The bytes of an address in hexadecimal; IPv4 inside IPv6 is IPv4.
function conditions.address(text)
  local a, b, c, d = match(text, "(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  if a then return string.format("%02x%02x%02x%02x", a, b, c, d) end
  local head, tail = match(text, "^(.-)::(.*)$")
  local first, last = hex_of_groups(head or text, {}), hex_of_groups(tail or "", {})
  while #first + #last < 8 do first[#first + 1] = "0000" end
  return table.concat(first) .. table.concat(last)
end

local function is_in_network(address, network)
  local prefix, bits = match(network, "^(%x+)/(%d+)$")
  bits = tonumber(bits)
  if #prefix ~= #address then return false end
  local whole, rest = bits // 4, bits % 4
  if sub(prefix, 1, whole) ~= sub(address, 1, whole) then return false end
  if rest == 0 then return true end
  local shift = 4 - rest
  return tonumber(sub(prefix, whole + 1, whole + 1), 16) >> shift == tonumber(sub(address, whole + 1, whole + 1), 16) >> shift
end

local OPERATORS = {
  contains = function(text, value) return find(text, value, 1, true) ~= nil end,
  starts_with = function(text, value) return sub(text, 1, #value) == value end,
  ends_with = function(text, value) return sub(text, -#value) == value end,
}

local function address_test(operator, values)
  return function(request)
    local address = request:address()
    for _, network in ipairs(values) do
      if is_in_network(address, network) then return operator ~= "ne" end
    end
    return operator == "ne"
  end
end

local function text_test(field, name, operator, values)
  local value = plain(values[1])
  if operator == "matches" then
    local program = regex.compile(value)
    return function(request) return regex.find(program, request:text(field, name)) end
  end
  local compare = OPERATORS[operator]
  if compare then return function(request) return compare(request:text(field, name), value) end end
  local set = {}
  for _, one in ipairs(values) do set[plain(one)] = true end
  if operator == "ne" then return function(request) return not set[request:text(field, name)] end end
  return function(request) return set[request:text(field, name)] == true end
end

local expression

local function joined(words, is_all, count)
  local parts = {}
  for index = 1, count do parts[index] = expression(words) end
  return function(request)
    for _, part in ipairs(parts) do
      if part(request) ~= is_all then return not is_all end
    end
    return is_all
  end
end

function expression(words)
  local word = words()
  if word == "!" then
    local part = expression(words)
    return function(request) return not part(request) end
  end
  local sign, count = match(word, "^([&|])(%d+)$")
  if sign then return joined(words, sign == "&", tonumber(count)) end
  local field, name, operator, rest = match(word, "^([%l_]+):([^@]*)@([%l_]+)@(.*)$")
  local values = {}
  for value in gmatch(rest, "[^,]+") do values[#values + 1] = value end
  if field == "ip" then return address_test(operator, values) end
  return text_test(field, plain(name), operator, values)
end

-- Returns the rules {id, event, action, expires, limit, holds} that a map's value describes, in order; `limit` is a rate
-- as guarded.lua makes them.
function conditions.parse(text)
  local known = cache[text]
  if known then return known end
  local rules, words = {}, gmatch(text, "%S+")
  for word in words do
    local id, action, expires, requests, window = match(word, "^rule=([%x-]+);(%l+);(%d+);?(%d*);?(%d*)$")
    if id then
      local event = "rule:" .. id
      local limit = action == "limit" and { id = event, event = event, requests = tonumber(requests), window = tonumber(window), key = "address", path = "", action = "limit" }
      rules[#rules + 1] = { id = id, event = event, action = action, expires = tonumber(expires), limit = limit, holds = expression(words) }
    end
  end
  if cached >= CACHED_MAX then cache, cached = {}, 0 end
  cache[text], cached = rules, cached + 1
  return rules
end

local Request = {}
Request.__index = Request

-- `read(field, name)` returns the text of a field; each is read once and only if a rule asks for it.
function conditions.request(address, read)
  return setmetatable({ source = address, read = read, texts = {} }, Request)
end

function Request:address()
  self.hex = self.hex or conditions.address(self.source)
  return self.hex
end

function Request:text(field, name)
  local key = field .. ":" .. name
  local text = self.texts[key]
  if not text then
    text = lower(self.read(field, name) or "")
    self.texts[key] = text
  end
  return text
end

-- Returns the first rule that decides (nil if none) and the ids of all "log" rules that hold before it.
function conditions.decide(rules, request, now)
  local logged = {}
  for _, rule in ipairs(rules) do
    if (rule.expires == 0 or rule.expires > now) and rule.holds(request) then
      if rule.action ~= "log" then return rule, logged end
      logged[#logged + 1] = rule.id
    end
  end
  return nil, logged
end

return conditions
