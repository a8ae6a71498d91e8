-- The library "string" of scripts. What makes text pays for it first.
local args = require("script.args")
local limits = require("script.limits")
local patterns = require("script.patterns")

local native = string
local integer, make, spend, text_of = args.integer, limits.make, limits.spend, args.text
local select, tostring, type = select, tostring, type

local BYTES_AT_ONCE = 1000
-- What one directive of format makes beside the text that it is given: a number in full.
local DIRECTIVE_BYTES = 400

local text = { find = patterns.find, match = patterns.match, gmatch = patterns.gmatch, gfind = patterns.gmatch, gsub = patterns.gsub }

function text.byte(value, from, to)
  value = text_of(value, 1, "byte")
  from = from == nil and 1 or integer(from, 2, "byte")
  to = to == nil and from or integer(to, 3, "byte")
  if from < 0 then from = #value + from + 1 end
  if to < 0 then to = #value + to + 1 end
  if math.min(to, #value) - math.max(from, 1) >= BYTES_AT_ONCE then error("byte gives at most " .. BYTES_AT_ONCE .. " values", 2) end
  if from < 1 and to < 1 then return end
  return native.byte(value, from < 1 and 1 or from, to)
end

function text.char(...)
  spend(select("#", ...))
  for index = 1, select("#", ...) do
    local value = integer((select(index, ...)), index, "char")
    if value < 0 or value > 255 then error("bad argument #" .. index .. " to 'char' (invalid value)", 2) end
  end
  return native.char(...)
end

function text.len(value) return #text_of(value, 1, "len") end

function text.sub(value, from, to)
  value = text_of(value, 1, "sub")
  from, to = integer(from, 2, "sub"), to == nil and -1 or integer(to, 3, "sub")
  make(to < 0 and #value or math.max(math.min(to, #value) - math.max(from, 1), 0))
  return native.sub(value, from, to)
end

for _, name in ipairs({ "lower", "upper", "reverse" }) do
  text[name] = function(value)
    value = text_of(value, 1, name)
    make(#value)
    return native[name](value)
  end
end

function text.rep(value, count, between)
  value, count = text_of(value, 1, "rep"), integer(count, 2, "rep")
  between = between == nil and "" or text_of(between, 3, "rep")
  if count < 1 then return "" end
  make((#value + #between) * count)
  return native.rep(value, count, between)
end

-- Numbers as Lua 5.1 writes them: 3.0 is "3".
function text.number(value)
  if math.type(value) == "float" and value == math.floor(value) and value > -1e15 and value < 1e15 then
    return native.format("%d", value)
  end
  return tostring(value)
end

local function tostring_of(value)
  local kind = type(value)
  if kind == "string" then return value end
  if kind == "number" then return text.number(value) end
  if kind == "nil" or kind == "boolean" then return tostring(value) end
  local meta = debug.getmetatable(value)
  local method = meta and rawget(meta, "__tostring")
  if not method then return kind end
  local result = method(value)
  if type(result) ~= "string" then error("'__tostring' must return a string", 3) end
  return result
end

text.tostring = tostring_of

local function directive(letter, value, index)
  if letter == "s" then return tostring_of(value) end
  if letter == "q" then return text_of(value, index, "format") end
  local number = args.number(value, index, "format")
  if native.find("diouxXc", letter, 1, true) then return integer(number, index, "format") end
  return number
end

function text.format(pattern, ...)
  pattern = text_of(pattern, 1, "format")
  local values, count, size = { ... }, 0, #pattern
  spend(#pattern // 4)
  for flags, letter in native.gmatch(pattern, "%%([%-+ #0-9.]*)(.?)") do
    if letter ~= "%" then
      if letter == "" or not native.find("diouxXceEfgGsqaA", letter, 1, true) then error("invalid conversion '%" .. flags .. letter .. "' to 'format'", 2) end
      count = count + 1
      if count > select("#", ...) then error("bad argument #" .. count + 1 .. " to 'format' (no value)", 2) end
      values[count] = directive(letter, values[count], count + 1)
      size = size + DIRECTIVE_BYTES + (type(values[count]) == "string" and #values[count] * (letter == "q" and 4 or 1) or 0)
    end
  end
  make(size)
  return native.format(pattern, table.unpack(values, 1, count))
end

-- What stands for ".." in a script.
function text.join(...)
  local count, size = select("#", ...), 0
  local values = { ... }
  for index = 1, count do
    local value = values[index]
    local kind = type(value)
    if kind == "string" then
      size = size + #value
    elseif kind == "number" then
      values[index] = text.number(value)
      size = size + #values[index]
    else
      return text.fold(values, count)
    end
  end
  make(size)
  return table.concat(values, "", 1, count)
end

-- Joins what may have metamethods, from the right as the language does.
function text.fold(values, count)
  local result = values[count]
  for index = count - 1, 1, -1 do
    local one = values[index]
    local kinds = type(one) .. " " .. type(result)
    if kinds == "string string" or kinds == "number string" or kinds == "string number" or kinds == "number number" then
      result = text.join(one, result)
    else
      local meta = debug.getmetatable(one)
      local method = type(one) == "table" and meta and rawget(meta, "__concat")
      meta = debug.getmetatable(result)
      method = method or type(result) == "table" and meta and rawget(meta, "__concat")
      if not method then
        local culprit = (type(one) == "string" or type(one) == "number") and result or one
        error("attempt to concatenate a " .. type(culprit) .. " value", 3)
      end
      result = method(one, result)
    end
  end
  return result
end

return text
