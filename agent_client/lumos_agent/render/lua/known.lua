-- Headers and cookies that were judged clean: browsers send the same ones with every request.
local known = {}

local ENTRIES_MAX = 2048
local BYTES_MAX = 512
local PLACES = { header = true, cookie = true }

local clean, count = {}, 0

local function key_of(name, raw)
  return name .. "\0" .. raw
end

function known.is_clean(name, raw)
  return #raw <= BYTES_MAX and clean[key_of(name, raw)] or false
end

-- Notes that no rule of any class objected to `value`.
function known.note_clean(value)
  if not PLACES[value.place] or #value.raw > BYTES_MAX then return end
  if count >= ENTRIES_MAX then clean, count = {}, 0 end
  clean[key_of(value.name, value.raw)] = true
  count = count + 1
end

return known
