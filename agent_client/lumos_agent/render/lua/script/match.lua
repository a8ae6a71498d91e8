-- Patterns as trees (script/pcre.lua, script/patterns.lua) -> functions that look for them. They go back where a choice
-- was wrong, as regular expressions with references need it, and every step is paid for, so none runs away.
--
-- Each kind of node becomes a function of a position that returns where the rest of the pattern ends, or nil; `k` is
-- that rest. `state`: text, its length, and where groups began and ended.
local first = require("script.first")
local limits = require("script.limits")

local match = {}

local byte, find, lower, sub = string.byte, string.find, string.lower, string.sub
local spend = limits.spend

local DEPTH_MAX = 20000
-- How many bytes of a repetition are paid for at once.
local SPAN = 64

local kinds = {}

local function build(state, node, k) return kinds[node.kind](state, node, k) end

local function done(at) return at end

function kinds.set(state, node, k)
  local set = node.set
  return function(at)
    if set[byte(state.text, at)] then
      spend(1)
      return k(at + 1)
    end
  end
end

function kinds.seq(state, node, k)
  for index = #node, 1, -1 do k = build(state, node[index], k) end
  return k
end

function kinds.alt(state, node, k)
  local ways = {}
  for index, way in ipairs(node) do ways[index] = build(state, way, k) end
  return function(at)
    spend(#ways)
    for index = 1, #ways do
      local stop = ways[index](at)
      if stop then return stop end
    end
  end
end

-- A repetition of single bytes needs no memory of its ways.
local function run_of(state, set, node, k)
  local low, high = node.low, node.high
  local function span(at, most)
    local text, stop, last = state.text, at, at + most
    repeat
      spend(SPAN)
      local pause = math.min(stop + SPAN, last)
      while stop < pause and set[byte(text, stop)] do stop = stop + 1 end
    until stop < pause or stop == last
    return stop
  end
  if node.mode == "lazy" then
    return function(at)
      local stop = span(at, low)
      if stop < at + low then return nil end
      local text = state.text
      while true do
        spend(2)
        local found = k(stop)
        if found then return found end
        if stop - at >= high or not set[byte(text, stop)] then return nil end
        stop = stop + 1
      end
    end
  end
  return function(at)
    local stop = span(at, high)
    local least = node.mode == "possessive" and stop or at + low
    if stop < at + low then return nil end
    while stop >= least do
      spend(2)
      local found = k(stop)
      if found then return found end
      stop = stop - 1
    end
  end
end

local function deeper(state)
  state.depth = state.depth + 1
  if state.depth > DEPTH_MAX then error("this pattern goes too deep for so long a text", 0) end
end

-- `count` and `last` belong to the innermost time that the repetition was entered.
local function loop_of(state, node, k)
  local low, high, is_lazy = node.low, node.high, node.mode == "lazy"
  local count, last = 0, nil
  local body
  local function again(at)
    local before, start = count, last
    count, last = before + 1, at
    local stop = body(at)
    count, last = before, start
    return stop
  end
  local function try(at)
    spend(4)
    deeper(state)
    local stop
    if count < low then
      stop = again(at)
    elseif at == last or count >= high then
      stop = k(at)
    elseif is_lazy then
      stop = k(at) or again(at)
    else
      stop = again(at) or k(at)
    end
    state.depth = state.depth - 1
    return stop
  end
  body = build(state, node[1], try)
  return function(at)
    local before, start = count, last
    count, last = 0, nil
    local stop = try(at)
    count, last = before, start
    return stop
  end
end

function kinds.loop(state, node, k)
  if node[1].kind == "set" then return run_of(state, node[1].set, node, k) end
  if node.mode == "possessive" then
    return kinds.atom(state, { { kind = "loop", low = node.low, high = node.high, node[1] } }, k)
  end
  return loop_of(state, node, k)
end

function kinds.group(state, node, k)
  local starts, stops, opened, index = state.starts, state.stops, {}, node.index
  local inner = build(state, node[1], function(at)
    local start, stop = starts[index], stops[index]
    starts[index], stops[index] = opened[#opened], at
    local mine = opened[#opened]
    opened[#opened] = nil
    local found = k(at)
    opened[#opened + 1] = mine
    if not found then starts[index], stops[index] = start, stop end
    return found
  end)
  state.resets[#state.resets + 1] = function()
    for depth = #opened, 1, -1 do opened[depth] = nil end
  end
  return function(at)
    opened[#opened + 1] = at
    local found = inner(at)
    opened[#opened] = nil
    return found
  end
end

-- The position itself, as "()" of Lua's patterns gives it.
function kinds.position(state, node, k)
  local starts, stops, index = state.starts, state.stops, node.index
  return function(at)
    local start, stop = starts[index], stops[index]
    starts[index], stops[index] = at, "position"
    local found = k(at)
    if not found then starts[index], stops[index] = start, stop end
    return found
  end
end

function kinds.ref(state, node, k)
  local starts, stops, index = state.starts, state.stops, node.index
  return function(at)
    if not stops[index] then return nil end
    local group = sub(state.text, starts[index], stops[index] - 1)
    spend(1 + #group // 8)
    local here = sub(state.text, at, at + #group - 1)
    if here == group or node.folds and lower(here) == lower(group) then return k(at + #group) end
  end
end

local function copied(list, count)
  local copy = {}
  for index = 1, count do copy[index] = list[index] end
  return copy
end

local function put_back(list, copy, count)
  for index = 1, count do list[index] = copy[index] end
end

function kinds.look(state, node, k)
  local inner = build(state, node[1], done)
  local starts, stops = state.starts, state.stops
  return function(at)
    spend(2 + state.groups)
    local was, were = copied(starts, state.groups), copied(stops, state.groups)
    local from, found = at, nil
    for _, width in ipairs(node.widths or { 0 }) do
      from = at - width
      found = from >= 1 and inner(from)
      if found and node.widths and found ~= at then found = nil end
      if found then break end
    end
    if not found == node.is_wanted then return nil end
    if found and not node.is_wanted then
      put_back(starts, was, state.groups)
      put_back(stops, were, state.groups)
    end
    local stop = k(at)
    if not stop then
      put_back(starts, was, state.groups)
      put_back(stops, were, state.groups)
    end
    return stop
  end
end

function kinds.atom(state, node, k)
  local inner = build(state, node[1], done)
  return function(at)
    spend(2)
    local stop = inner(at)
    return stop and k(stop)
  end
end

-- Places: the test says whether the pattern may go on there.
local function place(test)
  return function(state, node, k)
    return function(at)
      if test(state, at, node) then return k(at) end
    end
  end
end

local WORD = {}
for value = 0, 255 do WORD[value] = find(string.char(value), "[%w_]") ~= nil end

local function is_edge(state, at)
  return (WORD[byte(state.text, at - 1) or 256] or false) ~= (WORD[byte(state.text, at)] or false)
end

kinds.start = place(function(_, at) return at == 1 end)
kinds.stop = place(function(state, at) return at == #state.text + 1 end)
kinds.last_line = place(function(state, at)
  return at == #state.text + 1 or at == #state.text and byte(state.text, at) == 10
end)
kinds.line_start = place(function(state, at) return at == 1 or byte(state.text, at - 1) == 10 end)
kinds.line_stop = place(function(state, at) return at == #state.text + 1 or byte(state.text, at) == 10 end)
kinds.from = place(function(state, at) return at == state.from end)
kinds.edge = place(is_edge)
kinds.no_edge = place(function(state, at) return not is_edge(state, at) end)
kinds.frontier = place(function(state, at, node)
  local before, here = at > 1 and byte(state.text, at - 1) or 0, byte(state.text, at) or 0
  return not node.set[before] and node.set[here] or false
end)

-- "%bxy" of Lua's patterns.
function kinds.balance(state, node, k)
  return function(at)
    local text = state.text
    if byte(text, at) ~= node.open then return nil end
    local depth = 1
    for here = at + 1, #text do
      spend(1)
      local value = byte(text, here)
      if value == node.close then
        depth = depth - 1
        if depth == 0 then return k(here + 1) end
      elseif value == node.open then
        depth = depth + 1
      end
    end
  end
end

-- Returns a program for a tree with `groups` groups. `prefix`: text that every match begins with.
function match.program(tree, groups, prefix, is_anchored)
  local state = { starts = {}, stops = {}, groups = groups, resets = {}, depth = 0 }
  local class = not prefix and not is_anchored and first.class(tree) or nil
  return { state = state, run = build(state, tree, done), jump = prefix or class, is_plain = prefix ~= nil, is_anchored = is_anchored }
end

local function reset(state)
  for index = 1, state.groups do state.starts[index], state.stops[index] = nil, nil end
  for _, one in ipairs(state.resets) do one() end
  state.depth = 0
end

local function search(program, text, from)
  local run, jump = program.run, not program.is_anchored and program.jump
  local at, last = from, program.is_anchored and from or #text + 1
  while at <= last do
    if jump then
      local found = find(text, jump, at, program.is_plain)
      spend(((found or #text) - at) // 8)
      if not found then return nil end
      at = found
    end
    spend(2)
    local stop = run(at)
    if stop then return at, stop end
    at = at + 1
  end
end

-- Returns where the first match at `from` or later begins and ends (first byte behind it), or nil.
function match.find(program, text, from)
  local state = program.state
  reset(state)
  state.text, state.from = text, from
  local start, stop = search(program, text, from)
  -- Programs are kept longer than texts.
  state.text = nil
  return start, stop
end

return match
