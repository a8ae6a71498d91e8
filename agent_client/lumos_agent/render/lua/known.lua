-- Short values that were judged clean: browsers and programs send the same ones again and again.
local known = {}

local ENTRIES_MAX = 4096
local BYTES_MAX = 256
-- Their verdict depends on the rest of the request, or they are never the same.
local UNKNOWN = { document = true, body = true }

-- Two generations: what was asked for in the older one moves to the younger.
local young, old, count = {}, {}, 0

local function remember(key)
  if count >= ENTRIES_MAX then young, old, count = {}, young, 0 end
  young[key] = true
  count = count + 1
end

function known.key(place, name, raw)
  return place .. "\0" .. name .. "\0" .. raw
end

function known.is_clean(place, name, raw)
  if #raw > BYTES_MAX then return false end
  local key = known.key(place, name, raw)
  if young[key] then return true end
  if not old[key] then return false end
  remember(key)
  return true
end

-- Notes that no rule of any class objected to `value`.
function known.note_clean(value)
  if not UNKNOWN[value.place] and #value.raw <= BYTES_MAX then remember(known.key(value.place, value.name, value.raw)) end
end

return known
