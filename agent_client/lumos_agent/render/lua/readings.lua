-- The paths that a spelling may stand for: origins differ in what they decode, cut off, merge and resolve.
local decode = require("decode")

local readings = {}

local find, gmatch, gsub, match, sub = string.find, string.gmatch, string.gsub, string.match, string.sub

local function decoded_once(path)
  return (gsub(path, "%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- Java servers drop ";jsessionid=…" from every segment.
local function without_parameters(path)
  return (gsub(path, ";[^/]*", ""))
end

local function with_slashes(path)
  return (gsub(path, "\\", "/"))
end

-- What C programs see.
local function before_nul(path)
  return match(path, "^[^%z]*")
end

local function merged(path)
  return (gsub(path, "/+", "/"))
end

-- Without dot segments (RFC 3986, section 5.2.4); an empty segment is one.
local function resolved(path)
  local segments, last = {}, nil
  for segment in gmatch(sub(path, 2) .. "/", "([^/]*)/") do
    last = segment
    if segment == ".." then
      segments[#segments] = nil
    elseif segment ~= "." then
      segments[#segments + 1] = segment
    end
  end
  if (last == ".." or last == ".") and #segments > 0 then segments[#segments + 1] = "" end
  return "/" .. table.concat(segments, "/")
end

local STEPS = { without_parameters, decoded_once, decode.path, without_parameters, with_slashes, before_nul, merged, resolved }
-- A longer path is no page of anybody, and reading it in all ways would be work.
local BYTES_MAX = 4096

-- Returns every path that an origin may take `path` for, each once, or nil for one that is too long.
function readings.of(path)
  if #path > BYTES_MAX then return nil end
  if not find(path, "[%%;\\%z]") and not find(path, "//", 1, true) and not find(path, "/.", 1, true) then return { path } end
  local list, seen = { path }, { [path] = true }
  for _, step in ipairs(STEPS) do
    for index = 1, #list do
      local reading = step(list[index])
      if not seen[reading] then
        seen[reading] = true
        list[#list + 1] = reading
      end
    end
  end
  return list
end

return readings
