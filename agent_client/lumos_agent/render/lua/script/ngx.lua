-- The table "ngx" of scripts, as nginx users know it.
local args = require("script.args")
local base = require("script.base")
local codec = require("script.codec")
local expressions = require("script.expressions")
local input = require("script.input")
local now = require("script.now")
local output = require("script.output")
local shared = require("script.shared")
local times = require("script.times")

local STATUSES = {
  CONTINUE = 100, SWITCHING_PROTOCOLS = 101, OK = 200, CREATED = 201, ACCEPTED = 202, NO_CONTENT = 204,
  PARTIAL_CONTENT = 206, SPECIAL_RESPONSE = 300, MOVED_PERMANENTLY = 301, MOVED_TEMPORARILY = 302, SEE_OTHER = 303,
  NOT_MODIFIED = 304, TEMPORARY_REDIRECT = 307, PERMANENT_REDIRECT = 308, BAD_REQUEST = 400, UNAUTHORIZED = 401,
  PAYMENT_REQUIRED = 402, FORBIDDEN = 403, NOT_FOUND = 404, NOT_ALLOWED = 405, NOT_ACCEPTABLE = 406,
  REQUEST_TIMEOUT = 408, CONFLICT = 409, GONE = 410, UPGRADE_REQUIRED = 426, TOO_MANY_REQUESTS = 429, CLOSE = 444,
  ILLEGAL = 451, INTERNAL_SERVER_ERROR = 500, NOT_IMPLEMENTED = 501, METHOD_NOT_IMPLEMENTED = 501, BAD_GATEWAY = 502,
  SERVICE_UNAVAILABLE = 503, GATEWAY_TIMEOUT = 504, VERSION_NOT_SUPPORTED = 505, INSUFFICIENT_STORAGE = 507,
}
local METHODS = { "GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "MKCOL", "COPY", "MOVE", "PROPFIND", "PROPPATCH", "LOCK", "UNLOCK", "PATCH", "TRACE" }

local ngx = {
  OK = 0, ERROR = -1, AGAIN = -2, DONE = -4, DECLINED = -5, null = base.freeze({}),
  var = input.var, req = input.req, header = output.header, resp = base.freeze({ get_headers = output.get_headers }),
  say = output.say, print = output.print, exit = output.exit, redirect = output.redirect, log = output.log,
  re = expressions, shared = shared, time = times.time, now = times.now, today = times.today,
  localtime = times.localtime, utctime = times.utctime, update_time = times.update_time, http_time = times.http_time,
  cookie_time = times.cookie_time, parse_http_time = times.parse_http_time,
}

for name, status in pairs(STATUSES) do ngx["HTTP_" .. name] = status end
for name, level in pairs(output.LEVELS) do ngx[name] = level end
output.METHODS = {}
for index, name in ipairs(METHODS) do
  ngx["HTTP_" .. name] = 1 << index
  output.METHODS[1 << index] = name
end

function ngx.flush() return 1 end

function ngx.eof() return 1 end

function ngx.get_phase() return "access" end

for _, name in ipairs({ "md5", "md5_bin", "sha1_bin", "escape_uri", "unescape_uri" }) do
  ngx[name] = function(value) return codec[name](args.text(value, 1, name)) end
end

function ngx.crc32_short(value) return codec.crc32(args.text(value, 1, "crc32_short")) end

ngx.crc32_long = ngx.crc32_short

function ngx.hmac_sha1(key, value) return codec.hmac_sha1(args.text(key, 1, "hmac_sha1"), args.text(value, 2, "hmac_sha1")) end

function ngx.encode_base64(value, without_padding) return codec.encode_base64(args.text(value, 1, "encode_base64"), without_padding) end

function ngx.decode_base64(value) return codec.decode_base64(args.text(value, 1, "decode_base64")) end

function ngx.encode_args(given) return codec.encode_args(args.table(given, 1, "encode_args")) end

function ngx.decode_args(value, most)
  most = most == nil and 100 or args.integer(most, 2, "decode_args")
  return codec.decode_args(args.text(value, 1, "decode_args"), most > 0 and most or math.huge)
end

local QUOTES = { ["\0"] = "\\0", ["\b"] = "\\b", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\26"] = "\\Z", ["\\"] = "\\\\", ["'"] = "\\'", ['"'] = '\\"' }

function ngx.quote_sql_str(value)
  return "'" .. string.gsub(args.text(value, 1, "quote_sql_str"), "[%z\b\n\r\t\26\\'\"]", QUOTES) .. "'"
end

local function read(_, name)
  if name == "status" then return now.at.status or 0 end
  if name == "ctx" then return now.at.ctx end
  if name == "headers_sent" then return false end
  return ngx[name]
end

local function write(_, name, value)
  if name == "status" then
    local status = args.integer(value, 2, "status")
    if status < 200 or status > 599 then error("a status is between 200 and 599", 2) end
    now.at.status = status
  elseif name == "ctx" then
    now.at.ctx = args.table(value, 2, "ctx")
  else
    error("ngx." .. tostring(name) .. " cannot be changed", 2)
  end
end

base.globals.ngx = base.live(read, write)
base.globals.print = function(...) return output.log(output.LEVELS.NOTICE, ...) end

return base.globals
