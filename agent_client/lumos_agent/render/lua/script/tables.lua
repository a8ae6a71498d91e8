-- The library "table" of scripts: what would walk over many elements inside the interpreter pays for each.
local args = require("script.args")
local limits = require("script.limits")
local text = require("script.text")

local native = table
local integer, spend, table_of = args.integer, limits.spend, args.table

local VALUES_AT_ONCE = 1000

local tables = {}

function tables.unpack(list, from, to)
  from = from == nil and 1 or integer(from, 2, "unpack")
  to = to == nil and #list or integer(to, 3, "unpack")
  if to - from >= VALUES_AT_ONCE then error("unpack gives at most " .. VALUES_AT_ONCE .. " values", 2) end
  spend(1 + math.max(to - from, 0))
  return native.unpack(list, from, to)
end

function tables.pack(...) return { n = select("#", ...), ... } end

function tables.concat(list, between, from, to)
  table_of(list, 1, "concat")
  between = between == nil and "" or args.text(between, 2, "concat")
  from = from == nil and 1 or integer(from, 3, "concat")
  to = to == nil and #list or integer(to, 4, "concat")
  local parts, size = {}, 0
  for index = from, to do
    spend(3)
    local value = list[index]
    if type(value) == "number" then value = text.number(value) end
    if type(value) ~= "string" then error("invalid value (at index " .. index .. ") in table for 'concat'", 2) end
    size = size + #value + #between
    if size > limits.TEXT_BYTES then limits.make(size) end
    parts[#parts + 1] = value
  end
  limits.make(size)
  return native.concat(parts, between)
end

function tables.insert(list, ...)
  table_of(list, 1, "insert")
  local count, length = select("#", ...), #list
  if count == 1 then
    spend(2)
    list[length + 1] = (...)
    return
  end
  if count ~= 2 then error("wrong number of arguments to 'insert'", 2) end
  local at, value = ...
  at = integer(at, 2, "insert")
  if at < 1 or at > length + 1 then error("bad argument #2 to 'insert' (position out of bounds)", 2) end
  for index = length, at, -1 do
    spend(2)
    list[index + 1] = list[index]
  end
  list[at] = value
end

function tables.remove(list, at)
  table_of(list, 1, "remove")
  local length = #list
  at = at == nil and length or integer(at, 2, "remove")
  if length == 0 and (at == 0 or at == length) then return nil end
  if at < 1 or at > length + 1 then error("bad argument #2 to 'remove' (position out of bounds)", 2) end
  local value = list[at]
  for index = at, length - 1 do
    spend(2)
    list[index] = list[index + 1]
  end
  list[length] = nil
  return value
end

local function less(one, other)
  if type(one) == "string" then spend(1 + #one // 64) end
  return one < other
end

function tables.sort(list, compare)
  table_of(list, 1, "sort")
  if compare ~= nil and type(compare) ~= "function" then args.refuse(2, "sort", "function expected", compare) end
  spend(#list)
  compare = compare or less
  native.sort(list, function(one, other)
    spend(4)
    return compare(one, other)
  end)
end

function tables.maxn(list)
  local most = 0
  for key in next, table_of(list, 1, "maxn") do
    spend(2)
    if type(key) == "number" and key > most then most = key end
  end
  return most
end

function tables.getn(list) return #table_of(list, 1, "getn") end

return tables
