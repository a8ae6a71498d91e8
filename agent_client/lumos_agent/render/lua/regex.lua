-- Runs the programs of regex.py on all their states at once: the time is bounded by text times program.
local regex = {}

local byte, gmatch, match, sub = string.byte, string.gmatch, string.match, string.sub

-- What follows is not looked at.
local TEXT_MAX = 2048

local function byte_set(ranges)
  local set = {}
  for first, last in gmatch(ranges, "(%d+)-(%d+)") do
    for value = tonumber(first), tonumber(last) do set[value] = true end
  end
  return set
end

-- Adds the states that are reached from `at` without a byte; returns whether one of them is the end.
local function follow(program, states, seen, at, is_start, is_end)
  if seen[at] then return false end
  seen[at] = true
  local step = program[at]
  local op = step.op
  if op == "m" then return true end
  if op == "c" then
    states[#states + 1] = step
    states[step] = at
    return false
  end
  if op == "j" then return follow(program, states, seen, step.one, is_start, is_end) end
  if op == "s" then
    return follow(program, states, seen, step.one, is_start, is_end) or follow(program, states, seen, step.two, is_start, is_end)
  end
  if op == "^" and not is_start or op == "$" and not is_end then return false end
  return follow(program, states, seen, at + 1, is_start, is_end)
end

-- The bytes that a match in the middle of a text begins with, or nil if it may be empty.
local function first_bytes(program)
  local states, first = {}, {}
  if follow(program, states, {}, 1, false, false) then return nil end
  for _, step in ipairs(states) do
    for value in pairs(step.set) do first[value] = true end
  end
  return first
end

-- Returns the program as a list of {op, …} with absolute jumps.
function regex.compile(text)
  local program = {}
  for word in gmatch(text, "[^,]+") do
    local at, op = #program + 1, sub(word, 1, 1)
    if op == "c" then
      program[at] = { op = op, set = byte_set(word) }
    elseif op == "s" then
      local one, two = match(word, "^s(%-?%d+):(%-?%d+)$")
      program[at] = { op = op, one = at + tonumber(one), two = at + tonumber(two) }
    elseif op == "j" then
      program[at] = { op = op, one = at + tonumber(sub(word, 2)) }
    else
      program[at] = { op = op }
    end
  end
  program.first = first_bytes(program)
  return program
end

-- Whether the program matches somewhere in a text in lower case.
function regex.find(program, text)
  local length = math.min(#text, TEXT_MAX)
  local states, seen, first = {}, {}, program.first
  for index = 1, length + 1 do
    local value, later, later_seen = byte(text, index), {}, {}
    local is_idle = value and index > 1 and #states == 0 and first and not first[value]
    if not is_idle and follow(program, states, seen, 1, index == 1, index > #text) then return true end
    for _, step in ipairs(states) do
      if value and step.set[value] and follow(program, later, later_seen, states[step] + 1, false, index + 1 > #text) then
        return true
      end
    end
    states, seen = later, later_seen
  end
  return false
end

return regex
