-- The user agents that a domain or the account lists, as the map holds them: "deny:part allow:part", percent-encoded.
local agents = {}

local find, gmatch, gsub, lower, match = string.find, string.gmatch, string.gsub, string.lower, string.match

local CACHED_MAX = 256
local cache, cached = {}, 0

local function plain(text)
  return (gsub(text, "%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function parsed(text)
  local known = cache[text]
  if known then return known end
  known = { allow = {}, deny = {} }
  for word in gmatch(text, "%S+") do
    local verdict, part = match(word, "^(%l+):(.+)$")
    local list = known[verdict]
    list[#list + 1] = plain(part)
  end
  if cached >= CACHED_MAX then cache, cached = {}, 0 end
  cache[text], cached = known, cached + 1
  return known
end

local function contains(agent, parts)
  for _, part in ipairs(parts) do
    if find(agent, part, 1, true) then return true end
  end
  return false
end

-- Whether a user agent is denied by one of the lists and allowed by none.
function agents.is_denied(agent, lists)
  agent = lower(agent or "")
  local is_denied = false
  for _, text in ipairs(lists) do
    local listed = parsed(text)
    if contains(agent, listed.allow) then return false end
    is_denied = is_denied or contains(agent, listed.deny)
  end
  return is_denied
end

return agents
