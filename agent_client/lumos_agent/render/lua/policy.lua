-- The policy of a domain, as the map holds it: "mode level group=mode,… what@path@parameter …", and what it admits.
local decode = require("decode")
local readings = require("readings")

local policy = {}

local find, gmatch, gsub, match, sub = string.find, string.gmatch, string.gsub, string.match, string.sub

local CACHED_MAX = 256
-- Score at which a level objects.
local THRESHOLDS = { low = 8, medium = 5, high = 3 }

policy.thresholds = THRESHOLDS

local cache, cached = {}, 0

local function plain(text)
  return (gsub(text, "%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function parsed(text)
  local mode, level, rest = match(text, "^(%l+) (%l+)(.*)$")
  if not mode then return nil end
  local result = { mode = mode, threshold = THRESHOLDS[level] or THRESHOLDS.medium, groups = {}, exclusions = {} }
  for word in gmatch(rest, "%S+") do
    if find(word, "@", 1, true) then
      local what, path, name = match(word, "^([^@]*)@([^@]*)@(.*)$")
      result.exclusions[#result.exclusions + 1] = { what = what, path = plain(path), name = plain(name) }
    else
      for group, group_mode in gmatch(word, "([^=,]+)=(%l+)") do result.groups[group] = group_mode end
    end
  end
  return result
end

-- Returns the policy {mode, threshold, groups, exclusions} that a map's value describes, or nil.
function policy.parse(text)
  local known = cache[text]
  if known then return known end
  known = parsed(text)
  if cached >= CACHED_MAX then cache, cached = {}, 0 end
  cache[text], cached = known, cached + 1
  return known
end

-- The path as most origins resolve it, so that "/a/../b" is not taken for something below "/a".
function policy.resolved(path)
  local segments = {}
  for segment in gmatch(gsub(decode.path(path), "\\", "/"), "[^/]+") do
    local name = match(segment, "^[^;]*")
    if name == ".." then
      segments[#segments] = nil
    elseif name ~= "." and name ~= "" then
      segments[#segments + 1] = name
    end
  end
  return "/" .. table.concat(segments, "/")
end

local function is_below(path, prefix)
  if sub(path, 1, #prefix) ~= prefix then return false end
  return #path == #prefix or sub(prefix, -1) == "/" or sub(path, #prefix + 1, #prefix + 1) == "/"
end

local function is_below_any(path, prefixes)
  for _, prefix in ipairs(prefixes) do
    if is_below(path, prefix) then return true end
  end
  return false
end

-- Whether a path is below one of these prefixes whatever the origin takes it for: what spares a request must be sure.
function policy.is_surely_below(path, prefixes)
  local all = prefixes[1] and readings.of(path)
  if not all then return false end
  for _, reading in ipairs(all) do
    if not is_below_any(reading, prefixes) then return false end
  end
  return true
end

-- Whether an origin may take a path for one below `prefix`: enough for what restricts.
function policy.may_be_below(path, prefix)
  for _, reading in ipairs(readings.of(path) or { policy.resolved(path) }) do
    if is_below(reading, prefix) then return true end
  end
  return false
end

-- Returns the exclusions that hold for a request's path.
local function exclusions_at(exclusions, path)
  local here = {}
  for _, exclusion in ipairs(exclusions) do
    if exclusion.path == "" or policy.is_surely_below(path, { exclusion.path }) then here[#here + 1] = exclusion end
  end
  return here
end

local function is_excluded(finding, exclusions)
  for _, exclusion in ipairs(exclusions) do
    local what, name = exclusion.what, exclusion.name
    if (what == "" or what == finding.rule.id or what == finding.group) and (name == "" or name == finding.value.name) then return true end
  end
  return false
end

-- Returns a function `admits(finding, is_blocking)`: whether a finding counts at all, or counts towards blocking.
function policy.filter(self, path)
  local here = #self.exclusions > 0 and exclusions_at(self.exclusions, path) or {}
  return function(finding, is_blocking)
    local mode = self.groups[finding.group] or self.mode
    if mode == "off" or is_blocking and mode ~= "block" then return false end
    return #here == 0 or not is_excluded(finding, here)
  end
end

return policy
