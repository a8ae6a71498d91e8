-- Sets of bytes, as tables {byte = true}.
local sets = {}

local byte, char, match = string.byte, string.char, string.match

-- Returns the bytes that a class of Lua's patterns holds.
function sets.class(class)
  local set = {}
  for value = 0, 255 do
    if match(char(value), class) then set[value] = true end
  end
  return set
end

function sets.add(set, other)
  for value in pairs(other) do set[value] = true end
end

function sets.inverse(set)
  local result = {}
  for value = 0, 255 do
    if not set[value] then result[value] = true end
  end
  return result
end

-- Adds the other case of every letter.
function sets.folded(set)
  local result = {}
  for value in pairs(set) do
    result[value] = true
    local one = char(value)
    result[byte(string.lower(one))], result[byte(string.upper(one))] = true, true
  end
  return result
end

local singles, folded_singles = {}, {}

-- Returns the set of one byte, or of both its cases.
function sets.one(value, folds)
  local known = folds and folded_singles or singles
  local set = known[value]
  if not set then
    set = folds and sets.folded({ [value] = true }) or { [value] = true }
    known[value] = set
  end
  return set
end

sets.ALL = sets.class(".")
sets.DIGIT, sets.WORD, sets.BLANK = sets.class("%d"), sets.class("[%w_]"), sets.class("%s")

return sets
