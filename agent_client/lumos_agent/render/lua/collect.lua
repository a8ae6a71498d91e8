-- Request -> values, in the order in which they are judged.
local body = require("body")
local params = require("params")
local sessions = require("sessions")
local values = require("values")

local collect = {}

local find, gmatch, lower, sub = string.find, string.gmatch, string.lower, string.sub

-- More parameters than this are judged as one text.
local PARAMETERS_MAX = 512
local COOKIES_MAX = 128
local HEADERS_MAX = 100
local JOINED_BYTES_MAX = 4096
local REPEATED = {}

-- Headers with a fixed form, or that say nothing that an origin would use as a value.
local FIXED = {}
for name in gmatch("host connection content-length accept accept-encoding upgrade-insecure-requests dnt te trailer "
  .. "transfer-encoding cache-control pragma cookie sec-fetch-site sec-fetch-mode sec-fetch-user sec-fetch-dest sec-gpc "
  .. "upgrade expect keep-alive proxy-connection", "%S+") do
  FIXED[name] = true
end

-- Names are judged when they hold more than names do.
local function add_name(list, name)
  if not values.is_plain_name(name) then list[#list + 1] = values.sent("name", "", name) end
end

-- Notes the values of each name: repeated ones are judged joined, as some servers join them.
local function note_earlier(earlier, name, value)
  local before = earlier[name]
  if not before then
    earlier[name] = value
  elseif #before + #value < JOINED_BYTES_MAX then
    earlier[name] = before .. "," .. value
    earlier[REPEATED] = earlier[REPEATED] or {}
    earlier[REPEATED][name] = true
  end
end

-- `is_foreign`: no page of this site asks, so somebody else chose the session that a parameter carries.
-- `is_strict`: only what has the name of a parameter counts, as in a body that may be binary.
local function add_pairs(list, place, text, is_foreign, is_strict)
  local earlier = {}
  local rest = params.each(text, PARAMETERS_MAX, function(name, value)
    if is_strict and not find(name, "^[%w_.%[%]%%-]+$") then return end
    add_name(list, name)
    if value == "" then return end
    if is_foreign and sessions.is_session(name) then list[#list + 1] = values.sent("session", name, value) end
    if not values.is_plain(value) then list[#list + 1] = values.sent(place, name, value) end
    if name ~= "" then note_earlier(earlier, name, value) end
  end)
  for name in pairs(earlier[REPEATED] or {}) do list[#list + 1] = values.sent(place, name, earlier[name]) end
  if rest and not is_strict then list[#list + 1] = values.sent(place, "", sub(text, rest)) end
end

local function add_path(list, path)
  local whole = values.of_path("path", path)
  list[#list + 1] = whole
  if not find(whole.cased, "[^%w/._-]") then return end
  local count = 0
  for segment in gmatch(whole.cased, "[^/]+") do
    count = count + 1
    if count > PARAMETERS_MAX then break end
    if find(segment, "[^%w._-]") then list[#list + 1] = values.of_path("segment", segment) end
  end
end

local function add_cookies(list, header)
  local count = 0
  for name, value in gmatch(header, "%s*([^=;]*)=?([^;]*)") do
    count = count + 1
    if count > COOKIES_MAX then return end
    name = lower(name)
    if value ~= "" then list[#list + 1] = values.sent("cookie", name, value) end
    add_name(list, name)
  end
end

local function add_headers(list, headers)
  for index, header in ipairs(headers) do
    if index > HEADERS_MAX then return end
    local name = lower(header[1])
    if name == "cookie" then
      add_cookies(list, header[2])
    elseif not FIXED[name] and header[2] ~= "" then
      list[#list + 1] = values.sent("header", name, header[2])
    end
  end
end

-- The first value of a header, "" without one.
local function header_of(headers, wanted)
  for _, header in ipairs(headers) do
    if lower(header[1]) == wanted then return header[2] end
  end
  return ""
end

-- `request`: {method, path, query, headers = {{name, value}, …}, body}.
function collect.values(request)
  local list = {}
  if request.path then add_path(list, request.path) end
  local is_foreign = sessions.is_foreign(header_of(request.headers, "referer"), header_of(request.headers, "host"))
  if request.query and request.query ~= "" then add_pairs(list, "query", request.query, is_foreign) end
  add_headers(list, request.headers)
  if request.body and request.body ~= "" then
    local encoding = lower(header_of(request.headers, "content-encoding"))
    body.add(list, request.body, header_of(request.headers, "content-type"), encoding, function(to, text, is_binary)
      add_pairs(to, "form", text, is_foreign, is_binary)
    end)
  end
  return list
end

return collect
