-- What a match may begin with: the interpreter searches a text for that, which is quicker than trying every place.
local limits = require("script.limits")
local sets = require("script.sets")

local first = {}

local find = string.find

-- Where nearly any byte may begin a match, every place is tried.
local FIRST_MAX = 128

local first_of

-- What the nodes of a sequence from `index` on may begin with; nil if they may be empty.
local function first_of_rest(nodes, index)
  local node = nodes[index]
  if not node then return nil end
  local set = first_of(node)
  if not set then return nil end
  if not set.is_optional then return set end
  local rest = first_of_rest(nodes, index + 1)
  if not rest then return nil end
  local both = { bytes = {}, is_optional = rest.is_optional }
  sets.add(both.bytes, set.bytes)
  sets.add(both.bytes, rest.bytes)
  return both
end

local PASSED = { look = true, edge = true, no_edge = true, frontier = true, line_start = true, from = true, start = true }

-- {bytes, is_optional} that a match of a tree begins with, or nil where that is not known.
function first_of(node)
  local kind = node.kind
  if kind == "set" then return { bytes = node.set } end
  if kind == "seq" then return first_of_rest(node, 1) end
  if kind == "group" or kind == "atom" then return first_of(node[1]) end
  if kind == "balance" then return { bytes = { [node.open] = true } } end
  if PASSED[kind] then return { bytes = {}, is_optional = true } end
  if kind == "loop" then
    local inner = first_of(node[1])
    return inner and { bytes = inner.bytes, is_optional = node.low == 0 or inner.is_optional }
  end
  if kind ~= "alt" then return nil end
  local all = { bytes = {} }
  for _, way in ipairs(node) do
    local one = first_of(way)
    if not one then return nil end
    sets.add(all.bytes, one.bytes)
    all.is_optional = all.is_optional or one.is_optional
  end
  return all
end

-- Returns what a match of a tree begins with as a class of the interpreter's own patterns, or nil.
function first.class(tree)
  local known = first_of(tree)
  if not known or known.is_optional then return nil end
  local parts = {}
  for value in pairs(known.bytes) do
    local one = string.char(value)
    parts[#parts + 1] = find(one, "%w") and one or "%" .. one
  end
  limits.spend(#parts)
  return #parts > 0 and #parts <= FIRST_MAX and "[" .. table.concat(parts) .. "]" or nil
end

return first
