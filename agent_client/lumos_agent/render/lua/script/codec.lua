-- Digests and encodings of scripts: MD5 (RFC 1321), SHA-1 (RFC 3174), CRC-32, Base64 (RFC 4648), percent-encoding.
local limits = require("script.limits")

local codec = {}

local byte, char, format, gsub, pack, rep, sub, unpack = string.byte, string.char, string.format, string.gsub, string.pack, string.rep, string.sub, string.unpack
local floor = math.floor
local make, spend = limits.make, limits.spend

local MASK = 0xffffffff
-- Steps for one block of 64 bytes.
local BLOCK_STEPS = 400

local SINES, SHIFTS = {}, { { 7, 12, 17, 22 }, { 5, 9, 14, 20 }, { 4, 11, 16, 23 }, { 6, 10, 15, 21 } }
for index = 1, 64 do SINES[index] = floor(math.abs(math.sin(index)) * 2 ^ 32) end

local function rotated(value, count)
  value = value & MASK
  return (value << count | value >> (32 - count)) & MASK
end

local function padded(text, length_format)
  return text .. "\x80" .. rep("\0", (55 - #text) % 64) .. pack(length_format, #text * 8)
end

local function md5_block(words, a, b, c, d)
  local one, two, three, four = a, b, c, d
  for index = 0, 63 do
    local mixed, at
    local round = index // 16
    if round == 0 then mixed, at = b & c | ~b & d, index
    elseif round == 1 then mixed, at = d & b | ~d & c, (5 * index + 1) % 16
    elseif round == 2 then mixed, at = b ~ c ~ d, (3 * index + 5) % 16
    else mixed, at = c ~ (b | ~d & MASK), 7 * index % 16
    end
    local turned = rotated(a + mixed + SINES[index + 1] + words[at + 1], SHIFTS[round + 1][index % 4 + 1])
    a, d, c, b = d, c, b, (b + turned) & MASK
  end
  return a + one & MASK, b + two & MASK, c + three & MASK, d + four & MASK
end

function codec.md5_bin(text)
  local data = padded(text, "<I8")
  local a, b, c, d = 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476
  for at = 1, #data, 64 do
    spend(BLOCK_STEPS)
    a, b, c, d = md5_block({ unpack("<" .. rep("I4", 16), data, at) }, a, b, c, d)
  end
  return pack("<I4I4I4I4", a, b, c, d)
end

local function hex(text)
  return (gsub(text, ".", function(one) return format("%02x", byte(one)) end))
end

function codec.md5(text) return hex(codec.md5_bin(text)) end

local function sha1_block(words, a, b, c, d, e)
  local h = { a, b, c, d, e }
  for index = 17, 80 do words[index] = rotated(words[index - 3] ~ words[index - 8] ~ words[index - 14] ~ words[index - 16], 1) end
  for index = 1, 80 do
    local mixed, constant
    if index <= 20 then mixed, constant = b & c | ~b & d, 0x5a827999
    elseif index <= 40 then mixed, constant = b ~ c ~ d, 0x6ed9eba1
    elseif index <= 60 then mixed, constant = b & c | b & d | c & d, 0x8f1bbcdc
    else mixed, constant = b ~ c ~ d, 0xca62c1d6
    end
    a, b, c, d, e = (rotated(a, 5) + (mixed & MASK) + e + constant + words[index]) & MASK, a, rotated(b, 30), c, d
  end
  return h[1] + a & MASK, h[2] + b & MASK, h[3] + c & MASK, h[4] + d & MASK, h[5] + e & MASK
end

function codec.sha1_bin(text)
  local data = padded(text, ">I8")
  local a, b, c, d, e = 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0
  for at = 1, #data, 64 do
    spend(BLOCK_STEPS)
    a, b, c, d, e = sha1_block({ unpack(">" .. rep("I4", 16), data, at) }, a, b, c, d, e)
  end
  return pack(">I4I4I4I4I4", a, b, c, d, e)
end

-- HMAC-SHA1 (RFC 2104).
function codec.hmac_sha1(key, text)
  if #key > 64 then key = codec.sha1_bin(key) end
  local inner, outer = {}, {}
  for index = 1, 64 do
    local value = byte(key, index) or 0
    inner[index], outer[index] = char(value ~ 0x36), char(value ~ 0x5c)
  end
  return codec.sha1_bin(table.concat(outer) .. codec.sha1_bin(table.concat(inner) .. text))
end

local REMAINDERS = {}
for value = 0, 255 do
  local rest = value
  for _ = 1, 8 do rest = rest & 1 == 1 and rest >> 1 ~ 0xedb88320 or rest >> 1 end
  REMAINDERS[value] = rest
end

function codec.crc32(text)
  spend(#text * 2)
  local rest = MASK
  for index = 1, #text do rest = rest >> 8 ~ REMAINDERS[(rest ~ byte(text, index)) & 0xff] end
  return rest ~ MASK
end

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local VALUES = {}
for index = 1, 64 do VALUES[byte(ALPHABET, index)] = index - 1 end

function codec.encode_base64(text, without_padding)
  make(#text * 4)
  local parts = {}
  for at = 1, #text, 3 do
    local a, b, c = byte(text, at, at + 2)
    local value, group = a << 16 | (b or 0) << 8 | (c or 0), {}
    for index = 1, (c and 4 or b and 3 or 2) do
      local place = (value >> (24 - 6 * index) & 63) + 1
      group[index] = sub(ALPHABET, place, place)
    end
    parts[#parts + 1] = table.concat(group) .. (without_padding and "" or rep("=", 4 - #group))
  end
  return table.concat(parts)
end

-- Returns nil for what is no Base64.
function codec.decode_base64(text)
  make(#text * 4)
  for _ = 1, 2 do
    if byte(text, -1) == 61 then text = sub(text, 1, -2) end
  end
  if string.find(text, "[^%w+/]") or #text % 4 == 1 then return nil end
  local parts = {}
  for at = 1, #text, 4 do
    local value, count = 0, 0
    for index = at, at + 3 do
      local digit = VALUES[byte(text, index) or 0]
      value, count = value << 6 | (digit or 0), count + (digit and 1 or 0)
    end
    parts[#parts + 1] = sub(char(value >> 16, value >> 8 & 0xff, value & 0xff), 1, count - 1)
  end
  return table.concat(parts)
end

local function percent(one) return format("%%%02X", byte(one)) end

function codec.escape_uri(text)
  make(#text * 3)
  return (gsub(text, "[^%w_.~!*'()-]", percent))
end

function codec.unescape_uri(text)
  make(#text)
  return (gsub(gsub(text, "%+", " "), "%%(%x%x)", function(digits) return char(tonumber(digits, 16)) end))
end

function codec.unescape_path(text)
  return (gsub(text, "%%(%x%x)", function(digits) return char(tonumber(digits, 16)) end))
end

-- What a path cannot hold, escaped; what is escaped stays.
function codec.escape_path(text)
  make(#text * 3)
  return (gsub(text, "[^%w/_.~!$&'()*+,;=:@%%-]", percent))
end

-- A query of {name = value, true or a list}, by name so that equal tables give equal texts.
function codec.encode_args(given)
  local parts = {}
  local function add(name, value)
    limits.spend(4)
    if value == true then parts[#parts + 1] = codec.escape_uri(name)
    elseif value ~= false and value ~= nil then parts[#parts + 1] = codec.escape_uri(name) .. "=" .. codec.escape_uri(tostring(value))
    end
  end
  for name, value in next, given do
    if type(name) ~= "string" and type(name) ~= "number" then error("a name of an argument is a text", 3) end
    for _, one in ipairs(type(value) == "table" and value or { value }) do add(tostring(name), one) end
  end
  table.sort(parts)
  return table.concat(parts, "&")
end

-- Returns {name = value, true, or a list of them} of a query or form; at most `most` of them, and whether it was cut.
function codec.decode_args(text, most)
  make(#text * 8)
  local found, count = {}, 0
  for part in string.gmatch(text, "[^&]+") do
    count = count + 1
    if count > most then return found, "truncated" end
    local name, equals, value = string.match(part, "^([^=]*)(=?)(.*)$")
    if name ~= "" then
      name, value = codec.unescape_uri(name), equals == "" or codec.unescape_uri(value)
      local known = found[name]
      if known == nil then found[name] = value
      elseif type(known) == "table" then known[#known + 1] = value
      else found[name] = { known, value }
      end
    end
  end
  return found
end

return codec
