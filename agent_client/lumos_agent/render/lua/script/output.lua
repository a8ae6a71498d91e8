-- What a script answers: ngx.say, ngx.exit, ngx.redirect, ngx.header, ngx.log.
local args = require("script.args")
local base = require("script.base")
local limits = require("script.limits")
local now = require("script.now")
local text = require("script.text")

local output = {}

local find, gsub, lower = string.find, string.gsub, string.lower
local yield, SIGNAL = coroutine.yield, limits.SIGNAL

local HEADERS_MAX, HEADER_BYTES_MAX = 64, 8192
local LOGS_MAX, LOG_BYTES_MAX = 20, 500
local DROP, OK, DECLINED, ERROR = 444, 0, -5, -1

output.LEVELS = { STDERR = 0, EMERG = 1, ALERT = 2, CRIT = 3, ERR = 4, WARN = 5, NOTICE = 6, INFO = 7, DEBUG = 8 }
local LEVEL_NAMES = { [0] = "stderr", "emerg", "alert", "crit", "error", "warn", "notice", "info", "debug" }

-- Leaves the script for good.
local function leave(kind, status)
  local at = now.at
  at.kind, at.status = kind, status or at.status
  yield(SIGNAL, "exit")
  error("ngx.exit cannot be called here", 3)
end

-- Texts of lists one after the other, as ngx.say takes them.
local function flat(parts, value, depth)
  limits.spend(2)
  if type(value) ~= "table" then
    parts[#parts + 1] = text.tostring(value)
    return
  end
  if depth > 10 then error("lists nest at most 10 deep", 4) end
  for _, one in ipairs(value) do flat(parts, one, depth + 1) end
end

local function print_parts(ending, ...)
  local at, parts = now.at, {}
  for index = 1, select("#", ...) do flat(parts, (select(index, ...)), 0) end
  parts[#parts + 1] = ending
  local size = 0
  for _, part in ipairs(parts) do size = size + #part end
  at.size = (at.size or 0) + size
  limits.make(at.size > limits.TEXT_BYTES and at.size or size)
  at.body[#at.body + 1] = table.concat(parts)
  return 1
end

function output.say(...) return print_parts("\n", ...) end

function output.print(...) return print_parts("", ...) end

function output.exit(status)
  status = args.integer(status, 1, "exit")
  if status == OK or status == DECLINED then leave("pass") end
  if status == DROP then leave("drop") end
  if status == ERROR then status = 500 end
  if status < 200 or status > 599 then error("a status is between 200 and 599, or ngx.OK", 2) end
  leave("answer", status)
end

-- A line break would end a header.
local function checked(value, name)
  if find(value, "[%z\r\n]") then error("a header holds no line breaks: " .. name, 4) end
  if #value > HEADER_BYTES_MAX then error("a header has at most " .. HEADER_BYTES_MAX .. " bytes: " .. name, 4) end
  return value
end

local function name_of(name)
  name = gsub(args.text(name, 1, "header"), "_", "-")
  if find(name, "[^%w!#$%%&'*+.^`|~-]") or name == "" or #name > 100 then error("this is no name of a header: " .. gsub(name, "[%c]", "?"), 3) end
  return name
end

output.header_name = name_of

-- Returns the values of a header as a list of texts.
function output.header_values(value, name)
  local values = {}
  if type(value) == "table" then
    for index, one in ipairs(value) do values[index] = checked(text.tostring(one), name) end
  elseif value ~= nil then
    values[1] = checked(text.tostring(value), name)
  end
  return values
end

function output.set_header(_, name, value)
  local at = now.at
  name = name_of(name)
  at.headers[lower(name)] = { name = name, values = output.header_values(value, name) }
  at.headers_count = (at.headers_count or 0) + 1
  if at.headers_count > HEADERS_MAX then error("a script sets at most " .. HEADERS_MAX .. " headers", 2) end
end

local function header_text(values)
  if #values < 2 then return values[1] end
  return { table.unpack(values) }
end

function output.get_header(_, name)
  local known = now.at.headers[lower(name_of(name))]
  return known and header_text(known.values)
end

function output.get_headers()
  local found = {}
  for name, header in pairs(now.at.headers) do found[name] = header_text(header.values) end
  return found
end

function output.redirect(target, status)
  target = args.text(target, 1, "redirect")
  status = status == nil and 302 or args.integer(status, 2, "redirect")
  if not ({ [301] = true, [302] = true, [303] = true, [307] = true, [308] = true })[status] then
    error("only ngx.HTTP_MOVED_TEMPORARILY, ngx.HTTP_MOVED_PERMANENTLY, ngx.HTTP_PERMANENT_REDIRECT, ngx.HTTP_SEE_OTHER, or ngx.HTTP_TEMPORARY_REDIRECT allowed", 2)
  end
  now.at.headers.location = { name = "Location", values = { checked(target, "Location") } }
  now.at.body = {}
  leave("answer", status)
end

function output.log(level, ...)
  local logs = now.at.logs
  level = args.integer(level, 1, "log")
  if #logs >= LOGS_MAX then return end
  local parts = {}
  for index = 1, select("#", ...) do flat(parts, (select(index, ...)), 0) end
  local line = table.concat(parts)
  logs[#logs + 1] = { level = LEVEL_NAMES[level] or "error", severity = level, text = string.sub(line, 1, LOG_BYTES_MAX) }
end

output.header = base.live(output.get_header, output.set_header, output.get_headers)

return output
