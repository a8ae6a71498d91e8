-- The globals of scripts: the language's own functions as far as they are harmless, and the libraries. All scripts share
-- these tables, so nobody can write to them.
local args = require("script.args")
local limits = require("script.limits")
local tables = require("script.tables")
local text = require("script.text")

local base = {}

local spend, yield, SIGNAL = limits.spend, coroutine.yield, limits.SIGNAL
local resume = coroutine.resume

local frozen = setmetatable({}, { __mode = "k" })

local function refuse_writing() error("this table belongs to the system and cannot be changed", 2) end

-- Returns a table that reads as `content` and cannot be written to.
function base.freeze(content)
  local proxy = setmetatable({}, {
    __index = content,
    __newindex = refuse_writing,
    __metatable = false,
    __pairs = function() return next, content, nil end,
  })
  frozen[proxy] = true
  return proxy
end

-- As `freeze`, for tables whose fields are made when they are asked for.
function base.live(read, write, all)
  local proxy = setmetatable({}, {
    __index = read,
    __newindex = write or refuse_writing,
    __metatable = false,
    __pairs = all and function() return next, all(), nil end,
  })
  frozen[proxy] = true
  return proxy
end

-- Metatables are copied when they are set: what is written to them later has no effect, so that no table becomes weak
-- and none is told of its end, both of which happen outside of every limit.
local METHODS = {
  "__index", "__newindex", "__call", "__tostring", "__eq", "__lt", "__le", "__concat", "__len", "__unm", "__add", "__sub",
  "__mul", "__div", "__mod", "__pow", "__idiv", "__band", "__bor", "__bxor", "__bnot", "__shl", "__shr", "__metatable", "__pairs",
}
local ORIGINAL = {}

local function set_metatable(target, meta)
  args.table(target, 1, "setmetatable")
  if meta ~= nil and type(meta) ~= "table" then args.refuse(2, "setmetatable", "nil or table expected", meta) end
  if frozen[target] then refuse_writing() end
  if meta == nil then return setmetatable(target, nil) end
  if rawget(meta, "__gc") or rawget(meta, "__mode") then error("__gc and __mode are not known here", 2) end
  local copy = { [ORIGINAL] = meta }
  for _, name in ipairs(METHODS) do copy[name] = rawget(meta, name) end
  spend(16)
  return setmetatable(target, copy)
end

local function get_metatable(target)
  if type(target) ~= "table" then return nil end
  local meta = debug.getmetatable(target)
  if not meta then return nil end
  local shown = rawget(meta, "__metatable")
  if shown ~= nil then return shown end
  return meta[ORIGINAL]
end

local function raw_set(target, key, value)
  args.table(target, 1, "rawset")
  if frozen[target] then refuse_writing() end
  return rawset(target, key, value)
end

local function protected_with(handler, ok, ...)
  if ok then return true, ... end
  return false, handler(...)
end

-- The handler runs after the stack is unwound, so that limits hold in it.
local function x_protected(action, handler, ...) return protected_with(handler, pcall(action, ...)) end

-- The engine's own signals go on to whoever resumed the script, and back.
local function settled(co, ok, mark, ...)
  if ok and mark == SIGNAL then return settled(co, resume(co, yield(SIGNAL, ...))) end
  return ok, mark, ...
end

local function resumed(co, ...)
  spend(8)
  return settled(co, resume(co, ...))
end

local function unwrapped(ok, ...)
  if ok then return ... end
  error((...), 0)
end

local function created(action)
  if type(action) ~= "function" then args.refuse(1, "create", "function expected", action) end
  spend(64)
  return coroutine.create(action)
end

local threads = {
  create = created,
  resume = function(co, ...)
    if type(co) ~= "thread" then args.refuse(1, "resume", "coroutine expected", co) end
    return resumed(co, ...)
  end,
  wrap = function(action)
    local co = created(action)
    return function(...) return unwrapped(resumed(co, ...)) end
  end,
  yield = yield,
  status = coroutine.status,
  running = coroutine.running,
  isyieldable = coroutine.isyieldable,
}

local function to_number(value, radix)
  if type(value) == "string" then spend(1 + #value // 16) end
  if radix == nil then return tonumber(value) end
  return tonumber(args.text(value, 1, "tonumber"), args.integer(radix, 2, "tonumber"))
end

local maths = {}
for name, value in pairs(math) do maths[name] = value end
maths.randomseed = function() end
maths.pow = function(one, other) return args.number(one, 1, "pow") ^ args.number(other, 2, "pow") end
maths.mod = math.fmod

local function bits(action)
  return function(first, ...)
    local result = args.integer(first, 1, "bit")
    for index = 1, select("#", ...) do result = action(result, args.integer((select(index, ...)), index + 1, "bit")) end
    result = result & 0xffffffff
    return result < 0x80000000 and result or result - 0x100000000
  end
end

local bit = {
  tobit = bits(function(one) return one end),
  band = bits(function(one, other) return one & other end),
  bor = bits(function(one, other) return one | other end),
  bxor = bits(function(one, other) return one ~ other end),
  lshift = bits(function(one, count) return one << (count & 31) end),
  rshift = bits(function(one, count) return (one & 0xffffffff) >> (count & 31) end),
  bnot = function(value) return bits(function(one) return one end)(~args.integer(value, 1, "bnot")) end,
  tohex = function(value) return string.format("%08x", args.integer(value, 1, "tohex") & 0xffffffff) end,
}

local clock = { time = os.time, clock = os.clock }

function clock.date(pattern, time)
  pattern = pattern == nil and "%c" or args.text(pattern, 1, "date")
  limits.make(#pattern * 32)
  return os.date(pattern, time)
end

local strings = {}
for _, name in ipairs({ "byte", "char", "find", "format", "gfind", "gmatch", "gsub", "len", "lower", "match", "rep", "reverse", "sub", "upper" }) do
  strings[name] = text[name]
end
base.string = base.freeze(strings)

base.globals = {
  assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs, pcall = pcall, rawequal = rawequal,
  rawget = rawget, rawlen = rawlen, select = select, tonumber = to_number, tostring = text.tostring, type = type,
  setmetatable = set_metatable, getmetatable = get_metatable, rawset = raw_set, xpcall = x_protected,
  unpack = tables.unpack, string = base.string, table = base.freeze(tables), math = base.freeze(maths),
  bit = base.freeze(bit), os = base.freeze(clock), coroutine = base.freeze(threads), _VERSION = "Lua 5.3",
}

return base
