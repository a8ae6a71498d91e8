-- A table that computes what it is asked for and remembers it, so that gsub need not call back for each match.
local ENTRIES_MAX, KEY_BYTES_MAX = 4096, 16

-- `compute(key)` returns a text, or nil where there is none. A flood of new keys begins the table anew.
return function(compute)
  local count = 0
  return setmetatable({}, { __index = function(known, key)
    local text = compute(key) or false
    if #key > KEY_BYTES_MAX then return text end
    if count >= ENTRIES_MAX then
      for old in pairs(known) do known[old] = nil end
      count = 0
    end
    known[key], count = text, count + 1
    return text
  end })
end
