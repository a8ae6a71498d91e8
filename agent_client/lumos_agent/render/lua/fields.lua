-- The texts that custom rules compare, from the parts of a request: decoded, so that an encoding hides nothing.
local decode = require("decode")
local policy = require("policy")

local fields = {}

local gmatch, gsub, lower, match, sub = string.gmatch, string.gsub, string.lower, string.match, string.sub

local function path_of(path)
  local resolved = policy.resolved(path)
  return sub(path, -1) == "/" and resolved ~= "/" and resolved .. "/" or resolved
end

-- All values of a header, joined by ",".
local function header_of(headers, wanted)
  local values = {}
  for _, header in ipairs(headers) do
    if lower(header[1]) == wanted then values[#values + 1] = header[2] end
  end
  return table.concat(values, ",")
end

local function cookie_of(headers, wanted)
  for name, value in gmatch(header_of(headers, "cookie"), "%s*([^=;,]*)=?([^;]*)") do
    if lower(name) == wanted then return value end
  end
  return ""
end

local READERS = {
  method = function(request) return request.method end,
  host = function(request) return (gsub(gsub(header_of(request.headers, "host"), ":%d*$", ""), "%.$", "")) end,
  path = function(request) return path_of(request.path or "/") end,
  query = function(request) return decode.text(request.query or "", true) end,
  user_agent = function(request) return header_of(request.headers, "user-agent") end,
  body = function(request) return decode.text(request.body or "", match(header_of(request.headers, "content-type"), "^application/x%-www") ~= nil) end,
  country = function(request) return request.country end,
  asn = function(request) return request.asn end,
  header = function(request, name) return header_of(request.headers, name) end,
  cookie = function(request, name) return cookie_of(request.headers, name) end,
}

-- `request`: {method, path, query, headers = {{name, value}, …}, body, country, asn}. Returns the function that conditions read by.
function fields.reader(request)
  return function(field, name) return READERS[field](request, name) end
end

return fields
