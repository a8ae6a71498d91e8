-- Addresses that make the server fetch something: included files (RFI) and requests to inner hosts (SSRF).
local find, sub, match, gmatch = string.find, string.sub, string.match, string.gmatch

local MATCHED_BYTES = 128

local RULES = {
  metadata = { id = "remote-metadata", score = 9,
    why = "Asks for a cloud provider's metadata address, in whatever spelling." },
  disguised = { id = "remote-disguised-host", score = 7,
    why = "A URL spells its address as one number, in hex, octal or letters in circles." },
  loopback = { id = "remote-loopback", score = 4, why = "A URL in a parameter points at the server itself." },
  scheme = { id = "remote-scheme", score = 7,
    why = "A URL scheme that browsers do not use reaches files or other protocols (gopher, dict, file, ldap)." },
  literal = { id = "remote-literal", score = 4, why = "A URL in a parameter names its host by an IPv6 address." },
  address = { id = "remote-address", score = 3,
    why = "A parameter that names a file carries a URL whose host is a bare address." },
  include = { id = "remote-include", score = 6,
    why = "A parameter that names a file or folder to include carries a URL." },
  cut = { id = "remote-cut", score = 6,
    why = "A URL ends in a question mark that cuts off what the including program appends." },
  socket = { id = "remote-socket", score = 7, why = "Names a socket of the machine and, behind a bar, where a proxy goes instead." },
  data = { id = "remote-data", score = 4, why = "A parameter carries a data: URL with text in place of a file." },
}

local function set(text)
  local result = {}
  for word in gmatch(text, "%S+") do result[word] = true end
  return result
end

local SCHEMES = set([[
gopher dict ldap ldaps ldapi tftp sftp jar netdoc pop3 imap smb smbs file local_file telnet rmi iiop corba dns nis
compress view-source mailbox ssh2 ogg glob finger vnc rsync svn
]])
local HOSTS = set([[
localhost localhost4 localhost6 localhost.localdomain localhost4.localdomain4 localhost6.localdomain6 ipv6-localhost
ip6-localhost
ip6-loopback ipv6-loopback localtest.me lvh.me nip.io vcap.me kubernetes.default host.docker.internal
gateway.docker.internal
docker.for.mac.localhost loopback
]])
local METADATA_HOSTS = set([[
metadata.google.internal metadata.tencentyun.com metadata.azure.internal instance-data rancher-metadata metadata
]])
local METADATA = { [0xA9FEA9FE] = true, [0xC00000C0] = true, [0x646464C8] = true, [0xA9FEAA02] = true }

-- Names of parameters whose value a program includes or opens.
local FILE_NAMES = { "path", "root", "include", "inc_", "_inc", "mosconfig", "libdir", "_dir", "basedir",
  "classpath", "_file", "filename",
  "template", "skin", "theme", "module", "footer", "header", "config", "langfile", "dirname", "abspath", "pathto",
  "plugin", "filepath" }

local function snippet(text, at)
  return sub(text, at, at + MATCHED_BYTES - 1)
end

local function number(part)
  if find(part, "^0x%x+$") then return #part <= 12 and tonumber(part) or nil, true end
  if find(part, "^0[0-7]+$") then return #part <= 16 and tonumber(part, 8) or nil, true end
  if find(part, "^%d+$") and #part <= 10 then return tonumber(part), false end
end

-- An IPv4 address in any spelling that inet_aton reads: its value and whether it is spelled to mislead.
local function ipv4(host)
  local parts, odd = {}, false
  for part in gmatch(host, "[^.]+") do
    local value, is_odd = number(part)
    if not value or #parts == 4 then return nil end
    parts[#parts + 1], odd = value, odd or is_odd
  end
  if #parts == 0 then return nil end
  local address = 0
  for index = 1, #parts - 1 do
    if parts[index] > 255 then return nil end
    address = address | parts[index] << (32 - 8 * index)
  end
  address = address + parts[#parts]
  if address > 0xFFFFFFFF then return nil end
  return address, odd or #parts < 4
end

local function judge_host(host)
  if #host > 255 then return nil end
  host = match(host, "^(.-)%.?$")
  if METADATA_HOSTS[host] then return RULES.metadata end
  if HOSTS[host] then return RULES.loopback end
  if find(host, "\xE2[\x91-\x93]") then return RULES.disguised end
  if find(host, "^%[") then
    local last = match(host, ":(%d+%.%d+%.%d+%.%d+)")
    if last and METADATA[ipv4(last)] or find(host, "a9fe:a9fe", 1, true) or find(host, "fd00:ec2:", 1, true)
      then return RULES.metadata end
    return find(host, "^%[[%x:.%%]*:[%x:.%%%w]*%]?") and RULES.literal or nil
  end
  local address, odd = ipv4(host)
  if not address then
    local inner = match(host, "(%d+[.%-]%d+[.%-]%d+[.%-]%d+)%.%a+%.%a+$")
    address = inner and ipv4((string.gsub(inner, "-", ".")))
    return address and METADATA[address] and RULES.metadata or nil
  end
  if METADATA[address] then return RULES.metadata end
  if odd and address > 0xFFFFFF then return RULES.disguised end
  if address >> 24 == 127 or address == 0 then return RULES.loopback end
  return nil, address
end

-- The host of the URL that begins at `at` (behind scheme and slashes).
local function authority(text, at)
  local whole = match(text, "^[^/?#\\]*", at)
  whole = match(whole, "@([^@]*)$") or whole
  if sub(whole, 1, 1) == "[" then return match(whole, "^%[[^%]]*%]?") or whole end
  return match(whole, "^[^:%s&'\"<>]*")
end

local function is_file_name(name)
  for _, part in ipairs(FILE_NAMES) do
    if find(name, part, 1, true) then return true end
  end
  return false
end

local function judge_include(value, rest, is_address, report)
  local text, name = value.text, value.name
  if #text > 2048 then return end
  local stop = match(text, "%?+()\0*%s*$")
  if stop and find(text, "%.%a%a%a?%a?%d?%?+\0*%s*$") then return report(RULES.cut, snippet(text, 1)) end
  local is_file = is_file_name(name)
  if is_file and (stop or find(rest, "%.txt$") or find(rest, "%.php%d?$") or find(name, "mosconfig", 1, true)) then
    return report(RULES.include, snippet(text, 1))
  end
  if is_address and find(rest, "%.php%d?$") then return report(RULES.include, snippet(text, 1)) end
  if is_address and is_file then report(RULES.address, snippet(text, 1)) end
end

local OUTSIDE = { header = true, cookie = true, path = true, segment = true, body = true }

local function judge(value, report)
  local text = value.text
  local begin, stop, scheme = find(text, "^%s*([%l][%l%d+.%-_]+):/*")
  if scheme == "url" or scheme == "uri" then begin, stop, scheme = find(text, "^%s*ur[li]:([%l][%l%d+._-]*):/*") end
  if not scheme then
    local at = value.place == "query" and #text <= 2048 and find(text, "https?://[^%s?]+%.txt%?+$")
    if at then return report(RULES.cut, snippet(text, at)) end
    local host = match(text, "^%s*([%w.%-]+)/") or match(text, "^%s*([%w.%-]+):%d+$")
    local rule = host and not OUTSIDE[value.place] and (HOSTS[host] and RULES.loopback or METADATA_HOSTS[host]
      and find(host, ".", 1, true) and RULES.metadata)
    if rule then report(rule, snippet(text, 1)) end
    return
  end
  if scheme == "unix" and find(text, "|%s*%l+://") then return report(RULES.socket, snippet(text, 1)) end
  if scheme == "data" then
    if not OUTSIDE[value.place] and find(text, "^%s*data:text/%a+[;,]?")
      and not find(text, "^%s*data:text/[%a]+;charset=[%w%-]+,", 1) then
      report(RULES.data, snippet(text, begin))
    end
    return
  end
  local at = #text <= 2048 and find(text, "https?://[^%s?]+%.%l%l%l?%?%?")
  if at and not OUTSIDE[value.place] then return report(RULES.cut, snippet(text, at)) end
  local slashes = match(sub(text, begin, stop), "(/*)$")
  if SCHEMES[scheme] and #slashes >= 2 and value.place ~= "cookie" then
    if scheme ~= "file" or value.place ~= "header" then report(RULES.scheme, snippet(text, begin)) end
  end
  if value.place == "header" and (value.name == "referer" or value.name == "origin") or value.place == "cookie"
    then return end
  if #slashes < 2 and scheme ~= "http" and scheme ~= "https" then return end
  local host = authority(text, stop + 1)
  local rule, address = judge_host(host)
  if rule then report(rule, snippet(text, begin)) end
  if not OUTSIDE[value.place] and (scheme == "http" or scheme == "https" or find(scheme, "^ftps?$")) then
    judge_include(value, sub(text, stop + 1), address ~= nil, report)
  end
end

local function gate(value)
  local text = value.text
  local at = find(text, ":", 1, true)
  if at and (at <= 24 or value.place == "query" and find(text, ".txt?", at, true)) then return true end
  return find(text, "/", 1, true) ~= nil and not OUTSIDE[value.place] and find(text, "^[%w.%-]+/") ~= nil
    and #text <= 64
end

return {
  group = "remote", rules = RULES, gate = gate, judge = judge,
  about = "Addresses that make the server fetch something (remote file inclusion, SSRF).",
}
