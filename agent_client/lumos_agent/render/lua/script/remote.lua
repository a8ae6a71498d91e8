-- The way to the thread that keeps the dictionaries: values in binary, each message behind its length.
local dict = require("script.dict")

local remote = {}

local pack, unpack = string.pack, string.unpack

local SECONDS = 2
local MESSAGE_BYTES_MAX = 1024 * 1024

local function packed(...)
  local parts = {}
  for index = 1, select("#", ...) do
    local value = select(index, ...)
    local kind = math.type(value) or type(value)
    if kind == "string" then parts[index] = "s" .. pack("<s4", value)
    elseif kind == "integer" then parts[index] = "i" .. pack("<i8", value)
    elseif kind == "float" then parts[index] = "d" .. pack("<d", value)
    else parts[index] = value == nil and "n" or value and "t" or "f"
    end
  end
  local body = table.concat(parts)
  return pack("<I4", #body) .. body
end

local FORMATS = { s = "<s4", i = "<i8", d = "<d" }

local function unpacked(body)
  local values, count, at = {}, 0, 1
  while at <= #body do
    local kind = string.sub(body, at, at)
    count, at = count + 1, at + 1
    if FORMATS[kind] then values[count], at = unpack(FORMATS[kind], body, at)
    elseif kind ~= "n" then values[count] = kind == "t"
    end
  end
  return table.unpack(values, 1, count)
end

-- Returns a message's values, or nothing if there is none to come.
local function read(receive)
  local head = receive(4)
  if not head or #head < 4 then return nil end
  local length = unpack("<I4", head)
  if length > MESSAGE_BYTES_MAX then return nil end
  return length == 0 and "" or receive(length)
end

-- Returns a connection to the dictionaries.
function remote.open(path)
  local socket = core.tcp()
  socket:settimeout(SECONDS)
  if not socket:connect(path) then return nil end
  return socket
end

-- Has one operation carried out.
function remote.ask(socket, ...)
  if not socket or not socket:send(packed(...)) then return nil, "the dictionary cannot be reached" end
  local body = read(function(bytes) return socket:receive(bytes) end)
  if not body then return nil, "the dictionary does not answer" end
  return unpacked(body)
end

-- Serves one connection.
function remote.serve(applet, now)
  while true do
    local body = read(function(bytes) return applet:receive(bytes) end)
    if not body then return end
    applet:send(packed(dict.work(now(), unpacked(body))))
  end
end

return remote
