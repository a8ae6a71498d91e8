-- Lua's own patterns (reference manual, 6.4.1): by the interpreter where that cannot take long, else by script/match.lua,
-- which can be stopped. find, match, gmatch and gsub for scripts.
local args = require("script.args")
local limits = require("script.limits")
local match = require("script.match")
local sets = require("script.sets")

local patterns = {}

local byte, find, gsub, native_match, sub = string.byte, string.find, string.gsub, string.match, string.sub
local spend, make = limits.spend, limits.make
local integer, text_of = args.integer, args.text

local PATTERN_BYTES_MAX = 1024
-- How many steps the interpreter may take in one call, at worst.
local NATIVE_STEPS = 20000
-- How many patterns are kept, and how long one may be.
local CACHED_MAX, CACHED_BYTES_MAX = 200, 64

local cache, cached = {}, 0

local function bad(text) error("malformed pattern (" .. text .. ")", 0) end

-- Returns the end of the class that begins at `at`, and the class.
local function class_at(pattern, at)
  local one = sub(pattern, at, at)
  if one == "%" then
    if at == #pattern then bad("ends with '%'") end
    return at + 2, sub(pattern, at, at + 1)
  end
  if one ~= "[" then return at + 1, one end
  local stop = at + 1
  if sub(pattern, stop, stop) == "^" then stop = stop + 1 end
  repeat
    local here = sub(pattern, stop, stop)
    if here == "" then bad("missing ']'") end
    stop = stop + (here == "%" and 2 or 1)
  until sub(pattern, stop, stop) == "]"
  return stop + 1, sub(pattern, at, stop)
end

local function single(pattern, at)
  local stop, class = class_at(pattern, at)
  local is_class = class == "." or #class > 1
  local node = { kind = "set", set = is_class and sets.class(class) or sets.one(byte(class)) }
  spend(is_class and 260 or 2)
  local suffix = sub(pattern, stop, stop)
  if suffix == "*" or suffix == "-" then return stop + 1, { kind = "loop", low = 0, high = math.huge, mode = suffix == "-" and "lazy" or "greedy", node } end
  if suffix == "+" then return stop + 1, { kind = "loop", low = 1, high = math.huge, mode = "greedy", node } end
  if suffix == "?" then return stop + 1, { kind = "loop", low = 0, high = 1, mode = "greedy", node } end
  return stop, node
end

local function special(reader, at)
  local pattern, letter = reader.pattern, sub(reader.pattern, at + 1, at + 1)
  if letter == "b" then
    if at + 3 > #pattern then bad("missing arguments to '%b'") end
    return at + 4, { kind = "balance", open = byte(pattern, at + 2), close = byte(pattern, at + 3) }
  end
  if letter == "f" then
    if sub(pattern, at + 2, at + 2) ~= "[" then bad("missing '[' after '%f'") end
    local stop, class = class_at(pattern, at + 2)
    return stop, { kind = "frontier", set = sets.class(class) }
  end
  if find(letter, "%d") then return at + 2, { kind = "ref", index = tonumber(letter) } end
end

local sequence

local function group(reader, at)
  reader.groups = reader.groups + 1
  local index = reader.groups
  if index > 32 then bad("too many captures") end
  if sub(reader.pattern, at + 1, at + 1) == ")" then return at + 2, { kind = "position", index = index } end
  local stop, tree = sequence(reader, at + 1)
  if sub(reader.pattern, stop, stop) ~= ")" then bad("unfinished capture") end
  return stop + 1, { kind = "group", index = index, tree }
end

function sequence(reader, at)
  local pattern, nodes = reader.pattern, { kind = "seq" }
  while at <= #pattern do
    local one, stop, node = sub(pattern, at, at), nil, nil
    if one == ")" then return at, nodes end
    if one == "(" then
      stop, node = group(reader, at)
    elseif one == "%" then
      stop, node = special(reader, at)
    elseif one == "$" and at == #pattern then
      stop, node = at + 1, { kind = "stop" }
    end
    if not stop then stop, node = single(pattern, at) end
    nodes[#nodes + 1], at = node, stop
  end
  return at, nodes
end

-- How many repetitions a pattern has; references and %b count as some.
local function repetitions(pattern)
  local _, marks = gsub(pattern, "[*+?-]", "")
  local _, others = gsub(pattern, "%%[%dbf]", "")
  return marks + others
end

local function compiled(pattern)
  local known = cache[pattern]
  if known then return known end
  if #pattern > PATTERN_BYTES_MAX then bad("longer than " .. PATTERN_BYTES_MAX .. " bytes") end
  local is_anchored = sub(pattern, 1, 1) == "^"
  known = { is_anchored = is_anchored, repetitions = repetitions(pattern), pattern = pattern }
  if #pattern > CACHED_BYTES_MAX then return known end
  if cached >= CACHED_MAX then cache, cached = {}, 0 end
  cache[pattern], cached = known, cached + 1
  return known
end

local function program_of(known)
  if not known.program then
    local reader = { pattern = known.is_anchored and sub(known.pattern, 2) or known.pattern, groups = 0 }
    local stop, tree = sequence(reader, 1)
    if stop <= #reader.pattern then bad("unexpected ')'") end
    known.program = match.program(tree, reader.groups, nil, known.is_anchored)
    known.groups = reader.groups
  end
  return known.program
end

-- Whether the interpreter needs few steps, whatever the text is like.
local function is_short(known, length)
  if length > NATIVE_STEPS then return false end
  local steps = known.is_anchored and #known.pattern or length * #known.pattern
  for _ = 1, known.repetitions do
    steps = steps * (length + 1)
    if steps > NATIVE_STEPS then return false end
  end
  return steps <= NATIVE_STEPS
end

local function capture(program, text, index)
  local start, stop = program.state.starts[index], program.state.stops[index]
  if stop == "position" then return start end
  return start and sub(text, start, stop - 1)
end

-- The captures of the last match, or all of it where there are none.
local function captures(program, groups, text, start, stop)
  if groups == 0 then return sub(text, start, stop - 1) end
  local values = {}
  for index = 1, groups do values[index] = capture(program, text, index) end
  return table.unpack(values, 1, groups)
end

local function start_of(text, init, name)
  local from = init == nil and 1 or integer(init, 3, name)
  if from < 0 then from = math.max(#text + from + 1, 1) end
  return from == 0 and 1 or from
end

function patterns.find(text, pattern, init, is_plain)
  text, pattern = text_of(text, 1, "find"), text_of(pattern, 2, "find")
  local from = start_of(text, init, "find")
  if from > #text + 1 then return nil end
  if is_plain or not find(pattern, "[%^$*+?.()%[%]%%-]") then
    spend(4 + (#text - from + #pattern) // 8)
    -- Long needles that nearly match everywhere would take the product of both lengths.
    if #pattern > 64 then spend((#text - from) * #pattern // 256) end
    return find(text, pattern, from, true)
  end
  local known = compiled(pattern)
  if is_short(known, #text - from + 1) then
    spend(8 + (#text - from) // 4)
    return find(text, pattern, from)
  end
  local program = program_of(known)
  local start, stop = match.find(program, text, from)
  if not start then return nil end
  if known.groups == 0 then return start, stop - 1 end
  return start, stop - 1, captures(program, known.groups, text, start, stop)
end

function patterns.match(text, pattern, init)
  text, pattern = text_of(text, 1, "match"), text_of(pattern, 2, "match")
  local from = start_of(text, init, "match")
  if from > #text + 1 then return nil end
  local known = compiled(pattern)
  if is_short(known, #text - from + 1) then
    spend(8 + (#text - from) // 4)
    return native_match(text, pattern, from)
  end
  local program = program_of(known)
  local start, stop = match.find(program, text, from)
  if not start then return nil end
  return captures(program, known.groups, text, start, stop)
end

function patterns.gmatch(text, pattern)
  text, pattern = text_of(text, 1, "gmatch"), text_of(pattern, 2, "gmatch")
  -- In gmatch a "^" matches itself.
  local known = compiled(sub(pattern, 1, 1) == "^" and "%" .. pattern or pattern)
  local program, from, last = program_of(known), 1, nil
  return function()
    while from <= #text + 1 do
      local start, stop = match.find(program, text, from)
      if not start then return nil end
      from = stop == last and start + 1 or stop
      if stop ~= last then
        last = stop
        return captures(program, known.groups, text, start, stop)
      end
    end
  end
end

local function expanded(program, known, text, start, stop, replacement)
  local result = gsub(replacement, "%%(.?)", function(letter)
    if letter == "%" then return "%" end
    local index = tonumber(letter) or error("invalid use of '%' in replacement string", 4)
    if index == 0 or index == 1 and known.groups == 0 then return sub(text, start, stop - 1) end
    if index > known.groups then error("invalid capture index %" .. index .. " in replacement string", 4) end
    return tostring(capture(program, text, index))
  end)
  make(#result)
  return result
end

local function value_for(program, known, text, start, stop, replacement, kind)
  if kind == "string" then return expanded(program, known, text, start, stop, replacement) end
  local value
  if kind == "table" then
    value = replacement[(captures(program, known.groups, text, start, stop))]
  else
    value = replacement(captures(program, known.groups, text, start, stop))
  end
  if not value then return sub(text, start, stop - 1) end
  if type(value) ~= "string" and type(value) ~= "number" then error("invalid replacement value (a " .. type(value) .. ")", 3) end
  return value
end

local function replaced(known, text, replacement, most, kind)
  local program, from, count, size, last = program_of(known), 1, 0, 0, nil
  local parts, copied = {}, 1
  while count < most and from <= #text + 1 do
    local start, stop = match.find(program, text, from)
    if not start then break end
    from = stop == last and start + 1 or stop
    if stop ~= last then
      last, count = stop, count + 1
      local value = value_for(program, known, text, start, stop, replacement, kind)
      size = size + start - copied + #tostring(value)
      make(size > limits.TEXT_BYTES and size or 16)
      parts[#parts + 1] = sub(text, copied, start - 1)
      parts[#parts + 1] = value
      copied = stop
    end
    if known.is_anchored then break end
  end
  make(size + #text - copied + 1)
  parts[#parts + 1] = sub(text, copied)
  return table.concat(parts), count
end

function patterns.gsub(text, pattern, replacement, most)
  text, pattern = text_of(text, 1, "gsub"), text_of(pattern, 2, "gsub")
  local kind = type(replacement)
  if kind == "number" then replacement, kind = tostring(replacement), "string" end
  if kind ~= "string" and kind ~= "table" and kind ~= "function" then args.refuse(3, "gsub", "string/function/table expected", replacement) end
  most = most == nil and math.huge or integer(most, 4, "gsub")
  local known = compiled(pattern)
  if kind == "string" and #replacement < 64 and not find(replacement, "%", 1, true) and is_short(known, #text) then
    make(#text + #text * #replacement)
    return gsub(text, pattern, replacement, most < #text + 1 and most or nil)
  end
  return replaced(known, text, replacement, most, kind)
end

return patterns
