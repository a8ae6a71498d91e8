-- What a script sees of the request: ngx.var and ngx.req, and what it changes of it.
local args = require("script.args")
local base = require("script.base")
local codec = require("script.codec")
local limits = require("script.limits")
local now = require("script.now")
local output = require("script.output")
local times = require("script.times")

local input = {}

local byte, char, find, gsub, lower, match, sub = string.byte, string.char, string.find, string.gsub, string.lower, string.match, string.sub

local ARGS_MAX, HEADERS_MAX = 100, 100

local function request() return now.at.request end

-- All values of a header, in the order in which they came.
local function values_of(name)
  local values = {}
  limits.spend(2 * #request().headers)
  for _, header in ipairs(request().headers) do
    if lower(header[1]) == name then values[#values + 1] = header[2] end
  end
  return values
end

local function header(name)
  local values = values_of(name)
  if values[1] then return table.concat(values, name == "cookie" and "; " or ", ") end
end

local function cookie(name)
  local cookies = header("cookie") or ""
  limits.spend(#cookies // 8)
  for key, value in string.gmatch(cookies, "%s*([^=;]*)=?([^;]*)") do
    if key == name then return value end
  end
end

local function argument(name)
  local wanted, query = lower(name), request().query or ""
  limits.spend(#query // 8)
  for part in string.gmatch(query, "[^&]+") do
    local key, value = match(part, "^([^=]*)=(.*)$")
    if key and lower(key) == wanted then return value end
  end
end

-- The path as nginx compares it: decoded, without doubled slashes and dot segments.
local function uri()
  local path = codec.unescape_path(request().path or "/")
  local kept = {}
  limits.spend(#path // 2)
  for segment in string.gmatch(path, "[^/]+") do
    if segment == ".." then kept[#kept] = nil
    elseif segment ~= "." then kept[#kept + 1] = segment
    end
  end
  local ending = #kept > 0 and (sub(path, -1) == "/" or find(path, "/%.%.?$")) and "/" or ""
  return "/" .. table.concat(kept, "/") .. ending
end

local function request_uri()
  local query = request().query
  return (request().path or "/") .. ((query or "") ~= "" and "?" .. query or "")
end

local function host()
  local name = header("host") or ""
  return (gsub(lower(match(name, "^(%[.*%])") or match(name, "^([^:]*)") or ""), "%.$", ""))
end

-- The bytes of an address.
local function binary(address)
  local a, b, c, d = match(address, "^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  if a then return char(a, b, c, d) end
  local head, tail = match(address, "^(.-)::(.*)$")
  local function groups(part)
    local bytes = {}
    for group in string.gmatch(part or "", "%x+") do bytes[#bytes + 1] = string.pack(">I2", tonumber(group, 16)) end
    return bytes
  end
  local first, last = groups(head or address), groups(tail)
  return table.concat(first) .. string.rep("\0\0", 8 - #first - #last) .. table.concat(last)
end

local VARIABLES = {
  remote_addr = function() return request().address end,
  realip_remote_addr = function() return request().address end,
  binary_remote_addr = function() return binary(request().address) end,
  remote_port = function() return request().port end,
  server_addr = function() return request().server_address end,
  server_port = function() return request().server_port end,
  host = host,
  server_name = host,
  hostname = host,
  scheme = function() return request().scheme end,
  https = function() return request().scheme == "https" and "on" or "" end,
  request_method = function() return request().method end,
  request_uri = request_uri,
  uri = uri,
  document_uri = uri,
  args = function() return request().query end,
  query_string = function() return request().query end,
  is_args = function() return (request().query or "") ~= "" and "?" or "" end,
  server_protocol = function() return "HTTP/" .. request().version end,
  request = function() return request().method .. " " .. request_uri() .. " HTTP/" .. request().version end,
  content_type = function() return header("content-type") end,
  content_length = function() return header("content-length") end,
  request_body = function() return request().body end,
  request_id = function() return request().id end,
  geoip_country_code = function() return request().country end,
  geoip2_country_code = function() return request().country end,
  time_iso8601 = function() return os.date("!%Y-%m-%dT%H:%M:%S+00:00", request().time // 1) end,
  time_local = function() return os.date("!%d/%b/%Y:%H:%M:%S +0000", request().time // 1) end,
  msec = function() return string.format("%.3f", times.now()) end,
  status = function() return now.at.status end,
}

local function variable(_, name)
  if type(name) ~= "string" then return nil end
  limits.spend(16)
  local own = now.at.variables
  if own and own[name] ~= nil then return own[name] end
  local read = VARIABLES[name]
  if read then return read() end
  local kind, rest = match(name, "^(%l+)_(.+)$")
  if kind == "http" then return header((gsub(lower(rest), "_", "-"))) end
  if kind == "arg" then return argument(rest) end
  if kind == "cookie" then return cookie(rest) end
end

local function set_variable(_, name, value)
  name = args.text(name, 1, "var")
  if VARIABLES[name] or find(name, "^http_") or find(name, "^arg_") or find(name, "^cookie_") then
    error('variable "' .. name .. '" not changeable', 2)
  end
  now.at.variables = now.at.variables or {}
  if value ~= nil then value = args.text(value, 2, "var") end
  now.at.variables[name] = value
end

input.var = base.live(variable, set_variable)

local function change(...) now.at.changes[#now.at.changes + 1] = { ... } end

-- Headers as a table that finds them in any case and with "_" for "-".
local function found_by_any_case(list)
  return setmetatable(list, { __index = function(found, name)
    if type(name) == "string" then return rawget(found, (gsub(lower(name), "_", "-"))) end
  end })
end

local req = {}

function req.get_method() return request().method end

function req.set_method(method)
  local name = output.METHODS[method] or args.text(method, 1, "set_method")
  if find(name, "[^%u]") or name == "" or #name > 20 then error("this is no method: " .. name, 2) end
  request().method = name
  change("method", name)
end

function req.http_version() return tonumber(request().version) end

function req.is_internal() return false end

function req.start_time() return request().time end

function req.get_headers(most, is_raw)
  local list, count = {}, 0
  most = most == nil and HEADERS_MAX or args.integer(most, 1, "get_headers")
  for _, one in ipairs(request().headers) do
    count = count + 1
    if most > 0 and count > most then return found_by_any_case(list), "truncated" end
    local name = is_raw and one[1] or lower(one[1])
    local known = list[name]
    if known == nil then list[name] = one[2]
    elseif type(known) == "table" then known[#known + 1] = one[2]
    else list[name] = { known, one[2] }
    end
  end
  limits.spend(8 * count)
  return found_by_any_case(list)
end

function req.raw_header(without_line)
  local lines = {}
  if not without_line then lines[1] = VARIABLES.request() end
  for _, one in ipairs(request().headers) do lines[#lines + 1] = one[1] .. ": " .. one[2] end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

local function without(name)
  local kept = {}
  for _, one in ipairs(request().headers) do
    if lower(one[1]) ~= name then kept[#kept + 1] = one end
  end
  request().headers = kept
end

-- The body's length and its framing are not a script's business.
local FIXED = { ["content-length"] = true, ["transfer-encoding"] = true, connection = true, te = true, trailer = true, upgrade = true }

local function header_to_change(name)
  name = output.header_name(name)
  if FIXED[lower(name)] then error("this header cannot be changed: " .. name, 3) end
  return name
end

function req.set_header(name, value)
  name = header_to_change(name)
  local values = output.header_values(value, name)
  without(lower(name))
  for _, one in ipairs(values) do table.insert(request().headers, { name, one }) end
  change("header", name, values)
end

function req.clear_header(name)
  name = header_to_change(name)
  without(lower(name))
  change("header", name, {})
end

local function checked_target(target, pattern)
  if find(target, pattern) or target == "" then error("a target has no spaces, control characters and fragments; escape them with ngx.escape_uri", 3) end
  return target
end

function req.set_uri(path, jump)
  path = args.text(path, 1, "set_uri")
  if jump then error("requests cannot be located anew: leave the second argument out", 2) end
  if sub(path, 1, 1) ~= "/" then error("a path begins with /", 2) end
  path = checked_target(codec.escape_path(path), "[%c #?]")
  request().path = path
  change("path", path)
end

function req.set_uri_args(given)
  local query = type(given) == "table" and codec.encode_args(given) or args.text(given, 1, "set_uri_args")
  if query ~= "" then checked_target(query, "[%c #]") end
  request().query = query
  change("query", query)
end

local function most_of(most, name)
  most = most == nil and ARGS_MAX or args.integer(most, 1, name)
  return most > 0 and most or math.huge
end

function req.get_uri_args(most) return codec.decode_args(request().query or "", most_of(most, "get_uri_args")) end

function req.read_body() end

function req.discard_body() end

function req.get_body_data()
  local body = request().body
  return body ~= "" and body or nil
end

function req.get_body_file() end

function req.get_post_args(most) return codec.decode_args(request().body or "", most_of(most, "get_post_args")) end

input.req = base.freeze(req)

return input
