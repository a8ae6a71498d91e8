-- The rates and the bot check of a domain, as guards.map holds them (render/guards.py).
local guarded = {}

local gmatch, gsub, match = string.gmatch, string.gsub, string.match

local CACHED_MAX = 256

local cache, cached = {}, 0

local function plain(text)
  return (gsub(text, "%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function set_of(text)
  local found = {}
  for item in gmatch(text, "[^+]+") do found[item] = true end
  return next(found) and found
end

-- Ranges of status codes: {{low, high}, …}, or nil for "any request".
local function ranges(text)
  local found = {}
  for item in gmatch(text, "[^+]+") do
    local low, high = match(item, "^(%d+)-?(%d*)$")
    found[#found + 1] = { tonumber(low), tonumber(high) or tonumber(low) }
  end
  return found[1] and found
end

local function rate(text)
  local parts = {}
  for part in gmatch(text .. ",", "([^,]*),") do parts[#parts + 1] = plain(part) end
  local id, requests, window, key, name, path, methods, header, statuses, action = table.unpack(parts, 1, 10)
  return {
    id = id,
    event = "rate:" .. id,
    requests = tonumber(requests),
    window = tonumber(window),
    key = key,
    name = name ~= "" and name or "authorization",
    path = plain(path),
    methods = set_of(methods),
    header = header ~= "" and header,
    statuses = ranges(statuses),
    action = action,
  }
end

local function parsed(text)
  local result = { check = "off", level = "medium", rates = {}, paths = {}, methods = {}, tokens = {} }
  for word in gmatch(text, "%S+") do
    local name, value = match(word, "^(%l+)=?(.*)$")
    if name == "rate" then result.rates[#result.rates + 1] = rate(value)
    elseif name == "path" then result.paths[#result.paths + 1] = plain(value)
    elseif name == "method" then result.methods[value] = true
    elseif name == "token" then result.tokens[#result.tokens + 1] = plain(value)
    elseif name == "check" or name == "level" then result[name] = value
    elseif name then result[name] = true
    end
  end
  return result
end

-- Returns the guard {check, level, attack, paths, methods, tokens, rates} that a map's value describes.
function guarded.parse(text)
  local known = cache[text]
  if known then return known end
  known = parsed(text)
  if cached >= CACHED_MAX then cache, cached = {}, 0 end
  cache[text], cached = known, cached + 1
  return known
end

return guarded
