-- Runs a customer's script on one request, and tells what it decided.
local globals = require("script.ngx")
local base = require("script.base")
local limits = require("script.limits")
local now = require("script.now")
local text = require("script.text")

local run = {}

local find, gsub, sub = string.find, string.gsub, string.sub
local SIGNAL = limits.SIGNAL

local CHUNK = "=script"
local MESSAGE_BYTES_MAX = 300
-- A state with more memory in use is cleaned before it runs another script.
local STATE_KB_MAX = 256 * 1024

local GLOBALS = { __index = globals, __metatable = false }
local strings = getmetatable("")

-- Returns the program of a script's rewritten text (script/compiler.py), or nil and a message.
function run.load(source)
  local chunk, problem = load(source, CHUNK, "t", {})
  if not chunk then return nil, problem end
  return chunk(limits.spend, text.join)
end

run.use_threads = limits.use_threads

local function enter(at, meter)
  now.at = at
  strings.__index = base.string
  limits.enter(meter)
end

local function leave()
  limits.leave()
  strings.__index = string
  now.at = nil
end

-- The line of the script that was at work when a coroutine failed.
local function line_of(co)
  for level = 0, 20 do
    local place = debug.getinfo(co, level, "Sl")
    if not place then return nil end
    if place.source == CHUNK and place.currentline > 0 then return place.currentline end
  end
end

-- Returns a message that begins with "script:LINE: " where the line is known.
local function message_of(co, problem)
  local kind = type(problem)
  local told = (kind == "string" or kind == "number") and tostring(problem) or "the error is a " .. kind
  told = gsub(told, "^[^\n:]*%.lua:%d+: ", "")
  if not find(told, "^script:%d+: ") then
    local line = line_of(co)
    told = "script:" .. (line and line .. ":" or "") .. " " .. told
  end
  return sub(gsub(told, "[%c]", " "), 1, MESSAGE_BYTES_MAX)
end

-- Handles what a script waits for until it ends; returns why it failed, or nil.
local function driven(co, at, meter, host, ok, mark, what, ...)
  leave()
  if not ok then return message_of(co, meter.failure or mark) end
  if coroutine.status(co) == "dead" or mark == SIGNAL and what == "exit" then return nil end
  if mark ~= SIGNAL then return "script: attempt to yield outside of a coroutine" end
  if what ~= "dict" then return message_of(co, meter.failure) end
  local answers = table.pack(host.dict(...))
  enter(at, meter)
  return driven(co, at, meter, host, coroutine.resume(co, table.unpack(answers, 1, answers.n)))
end

-- `program`: as `load` returns it; `request`: as script/now.lua says; `share`: a table that is kept for the domain.
-- Returns {failure, kind = "pass", "answer" or "drop", status, headers, body, changes, logs}.
function run.run(program, request, host, share)
  local at = { request = request, host = host, ctx = {}, headers = {}, body = {}, changes = {}, logs = {} }
  local meter = limits.begin(share, host.now())
  if not meter then
    at.failure = "script: " .. limits.SHARE_USED
    return at
  end
  if collectgarbage("count") > STATE_KB_MAX then collectgarbage() end
  local env = setmetatable({}, GLOBALS)
  env._G = env
  local co = coroutine.create(program)
  -- Not the interpreter's own hook, which knows nothing of this coroutine.
  debug.sethook(co)
  enter(at, meter)
  at.failure = driven(co, at, meter, host, coroutine.resume(co, env))
  limits.finish(meter)
  if not at.kind then at.kind = (#at.body > 0 and not at.failure) and "answer" or "pass" end
  at.steps, at.seconds = meter.steps, meter.spent
  return at
end

return run
