-- ngx.shared: the dictionaries of a domain, as script/dict.lua keeps them.
local args = require("script.args")
local base = require("script.base")
local dict = require("script.dict")
local limits = require("script.limits")
local now = require("script.now")

local yield, SIGNAL = coroutine.yield, limits.SIGNAL

local NAME = "^[%w_.-]+$"

local methods = {}

-- On the thread that keeps the dictionaries this is a call; on the others the script waits for the answer.
local function ask(self, operation, ...)
  limits.spend(64)
  local host, name = now.at.host, args.text(rawget(args.table(self, 1, operation), 1), 1, operation)
  if host.keeps then return host.dict(name, operation, ...) end
  return yield(SIGNAL, "dict", name, operation, ...)
end

local function key_of(key, name)
  if key == nil then return nil, "nil key" end
  key = args.text(key, 1, name)
  if key == "" then return nil, "empty key" end
  if #key > dict.KEY_BYTES_MAX then return nil, "key too long" end
  return key
end

local VALUES = { string = true, number = true, boolean = true, ["nil"] = true }

local function seconds_of(seconds, index, name)
  if seconds == nil then return nil end
  local number = args.number(seconds, index, name)
  if number < 0 then error('bad "exptime" argument', 3) end
  return number
end

local function reader(name)
  methods[name] = function(self, key)
    local clean, problem = key_of(key, name)
    if not clean then return nil, problem end
    return ask(self, name, clean)
  end
end

local function writer(name)
  methods[name] = function(self, key, value, seconds, flags)
    local clean, problem = key_of(key, name)
    if not clean then return nil, problem end
    if not VALUES[type(value)] then return nil, "bad value type" end
    if type(value) == "string" and #value > dict.VALUE_BYTES_MAX then return false, "no memory", false end
    -- It goes to another thread, perhaps, and is kept there.
    if type(value) == "string" then limits.spend(#value // 4) end
    return ask(self, name, clean, value, seconds_of(seconds, 3, name), flags and args.integer(flags, 4, name) or nil)
  end
end

for _, name in ipairs({ "get", "get_stale", "delete", "ttl" }) do reader(name) end
for _, name in ipairs({ "set", "safe_set", "add", "safe_add", "replace" }) do writer(name) end

function methods.incr(self, key, step, initial, seconds)
  local clean, problem = key_of(key, "incr")
  if not clean then return nil, problem end
  step = args.number(step, 2, "incr")
  initial = initial and args.number(initial, 3, "incr") or nil
  return ask(self, "incr", clean, step, initial, seconds_of(seconds, 4, "incr"))
end

function methods.expire(self, key, seconds)
  local clean, problem = key_of(key, "expire")
  if not clean then return nil, problem end
  return ask(self, "expire", clean, seconds_of(seconds, 2, "expire") or 0)
end

function methods.flush_all(self)
  limits.spend(2000)
  ask(self, "flush_all")
end

function methods.flush_expired(self, most)
  limits.spend(2000)
  return ask(self, "flush_expired", most and args.integer(most, 1, "flush_expired") or 0)
end

function methods.get_keys(self, most)
  limits.spend(2000)
  local packed, keys, at = ask(self, "get_keys", most and args.integer(most, 1, "get_keys") or 1024), {}, 1
  limits.make(#packed)
  while at <= #packed do keys[#keys + 1], at = string.unpack("<s4", packed, at) end
  return keys
end

function methods.capacity() return dict.CAPACITY end

function methods.free_space(self) return ask(self, "free_space") end

local META = { __index = methods, __newindex = function() error("a dictionary holds its values behind set and get", 2) end, __metatable = false }

-- A dictionary is there as soon as it is named.
return base.live(function(_, name)
  if type(name) ~= "string" or #name > 64 or not string.find(name, NAME) then return nil end
  limits.spend(4)
  return setmetatable({ name }, META)
end)
