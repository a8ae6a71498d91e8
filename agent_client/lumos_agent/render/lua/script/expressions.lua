-- ngx.re: regular expressions of scripts.
local args = require("script.args")
local base = require("script.base")
local limits = require("script.limits")
local match = require("script.match")
local pcre = require("script.pcre")
local text = require("script.text")

local sub = string.sub
local make = limits.make

-- Of all programs that are kept, and of one of them.
local CACHE_KB_MAX, PROGRAM_KB_MAX = 16 * 1024, 1024

local expressions = {}
local cache, cached_kb = {}, 0

local function compiled(pattern, options)
  options = options or ""
  local key = options .. "/" .. pattern
  local known = cache[key]
  if known then
    limits.spend(4)
    return known
  end
  local problem
  known, problem = pcre.compile(pattern, options)
  if not known then return nil, "pcre_compile() failed: " .. problem .. " in \"" .. pattern .. "\"" end
  if known.size_kb > PROGRAM_KB_MAX then return known end
  if cached_kb + known.size_kb > CACHE_KB_MAX then cache, cached_kb = {}, 0 end
  cache[key], cached_kb = known, cached_kb + known.size_kb
  return known
end

-- {[0] = all, [1] = …, name = …}; a group that took no part is false, as in nginx.
local function captured(program, subject, start, stop, result)
  local state = program.state
  result = result or {}
  result[0] = sub(subject, start, stop - 1)
  for index = 1, program.groups do
    local from = state.starts[index]
    result[index] = from and sub(subject, from, state.stops[index] - 1) or false
  end
  for name, index in pairs(program.names) do result[name] = result[index] end
  make(#result[0])
  return result
end

local function start_of(context)
  if context == nil then return 1 end
  return math.max(args.integer(args.table(context, 4, "match").pos or 1, 4, "match"), 1)
end

function expressions.match(subject, pattern, options, context, result)
  subject, pattern = args.text(subject, 1, "match"), args.text(pattern, 2, "match")
  local program, problem = compiled(pattern, options)
  if not program then return nil, problem end
  local start, stop = match.find(program, subject, start_of(context))
  if not start then return nil end
  if context then context.pos = stop end
  return captured(program, subject, start, stop, result)
end

function expressions.find(subject, pattern, options, context, group)
  subject, pattern = args.text(subject, 1, "find"), args.text(pattern, 2, "find")
  local program, problem = compiled(pattern, options)
  if not program then return nil, nil, problem end
  local start, stop = match.find(program, subject, start_of(context))
  if not start then return nil end
  if context then context.pos = stop end
  if group and group > 0 then
    local from = program.state.starts[group]
    if group > program.groups then return nil, nil, "nth out of bound" end
    return from, from and program.state.stops[group] - 1
  end
  return start, stop - 1
end

-- Returns the next match at `from` or later, and where to go on behind it.
local function following(program, subject, from, last)
  while from <= #subject + 1 do
    local start, stop = match.find(program, subject, from)
    if not start then return nil end
    if stop ~= last or stop > start then return start, stop, stop > start and stop or stop + 1 end
    from = from + 1
  end
end

function expressions.gmatch(subject, pattern, options)
  subject, pattern = args.text(subject, 1, "gmatch"), args.text(pattern, 2, "gmatch")
  local program, problem = compiled(pattern, options)
  if not program then return nil, problem end
  local from, last = 1, nil
  return function()
    if from > #subject + 1 then return nil end
    local start, stop, onwards = following(program, subject, from, last)
    from, last = onwards or #subject + 2, stop
    return start and captured(program, subject, start, stop)
  end
end

local function group_text(found, name)
  if string.find(name, "^%d+$") then return found[tonumber(name)] or "" end
  return found[name] or ""
end

-- "$1", "${1}", "$name" and "$$" of a replacement.
local function expanded(replacement, found)
  return (string.gsub(string.gsub(string.gsub(replacement, "%$%$", "\0"), "%${?(%w+)}?", function(name)
    return group_text(found, name)
  end), "%z", "$"))
end

local function replaced(name, most, subject, pattern, replacement, options)
  subject, pattern = args.text(subject, 1, name), args.text(pattern, 2, name)
  local program, problem = compiled(pattern, options)
  if not program then return nil, nil, problem end
  if type(replacement) ~= "function" then replacement = args.text(replacement, 3, name) end
  local parts, copied, count, from, last, size = {}, 1, 0, 1, nil, 0
  while count < most and from <= #subject + 1 do
    local start, stop, onwards = following(program, subject, from, last)
    if not start then break end
    local found = captured(program, subject, start, stop)
    local value = type(replacement) == "function" and text.tostring(replacement(found)) or expanded(replacement, found)
    size = size + start - copied + #value
    make(size > limits.TEXT_BYTES and size or #value)
    parts[#parts + 1] = sub(subject, copied, start - 1)
    parts[#parts + 1] = value
    copied, from, last, count = stop, onwards, stop, count + 1
  end
  make(size + #subject - copied + 1)
  parts[#parts + 1] = sub(subject, copied)
  return table.concat(parts), count
end

function expressions.sub(...) return replaced("sub", 1, ...) end

function expressions.gsub(...) return replaced("gsub", math.huge, ...) end

return base.freeze(expressions)
