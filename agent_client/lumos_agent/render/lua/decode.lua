-- Decodes as attackers encode: repeated URL encoding, %u, overlong UTF-8, full-width forms, HTML entities, JS escapes.
local memo = require("memo")

local decode = {}

local find, gsub, sub, byte, char = string.find, string.gsub, string.sub, string.byte, string.char
-- No origin decodes more often, and nobody has a reason to encode a long text twice.
local ROUNDS_MAX, LONG_ROUNDS_MAX, LONG_BYTES = 5, 3, 16384
local BASE64_BYTES_MIN, BASE64_BYTES_MAX = 16, 8192

-- Both digits in either case -> character.
local HEX = {}
for code = 0, 255 do
  local lower = string.format("%02x", code)
  local first, second = sub(lower, 1, 1), sub(lower, 2, 2)
  for _, one in ipairs({ first, string.upper(first) }) do
    for _, two in ipairs({ second, string.upper(second) }) do HEX[one .. two] = char(code) end
  end
end

local function from_code(code)
  if code < 0x80 then return char(code) end
  if code >= 0xFF01 and code <= 0xFF5E then return char(code - 0xFEE0) end
  if code > 0x10FFFF then return "?" end
  return utf8.char(code)
end

local FROM_HEX = memo(function(hex) return from_code(tonumber(hex, 16)) end)

local LONG_TEXT_BYTES, BYTES_PER_MARK = 2048, 512

-- gsub(text, pattern, with) where each match begins with `mark`, `with` being a table. Plain searches are hundreds of
-- times faster than patterns, so a long text with few marks is read from mark to mark.
local function replaced(text, mark, pattern, with)
  local at = find(text, mark, 1, true)
  if not at then return text end
  if #text < LONG_TEXT_BYTES then return (gsub(text, pattern, with)) end
  local anchored = "^" .. pattern
  local parts, from = {}, 1
  for _ = 1, #text // BYTES_PER_MARK do
    local _, last, capture = find(text, anchored, at)
    local new = last and with[capture]
    if new then
      parts[#parts + 1], parts[#parts + 2] = sub(text, from, at - 1), new
      from = last + 1
    end
    at = find(text, mark, last and last + 1 or at + 1, true)
    if not at then break end
  end
  local rest = sub(text, from)
  parts[#parts + 1] = at and gsub(rest, pattern, with) or rest
  return table.concat(parts)
end

local function url_once(text)
  text = replaced(replaced(text, "%u", "%%u(%x%x%x%x)", FROM_HEX), "%U", "%%U(%x%x%x%x)", FROM_HEX)
  return replaced(text, "%", "%%(%x%x)", HEX)
end

local function has_one_of(text, marks)
  for index = 1, #marks do
    if find(text, marks[index], 1, true) then return true end
  end
  return false
end

local TWO_BYTES, THREE_BYTES, FULL_WIDTH = { "\xC0", "\xC1" }, { "\xE0\x80", "\xE0\x81" }, { "\xEF\xBC", "\xEF\xBD" }

-- The bytes behind the first one, or all -> the ASCII character.
local LONG_FORMS, WIDE_FORMS = {}, {}
for code = 0, 127 do
  local lead, last = code // 64, char(0x80 + code % 64)
  LONG_FORMS[char(0xC0 + lead) .. last], LONG_FORMS[char(0x80 + lead) .. last] = char(code), char(code)
  if code > 32 and code < 127 then WIDE_FORMS[char(0xBC + (code - 32) // 64) .. char(0x80 + (code - 32) % 64)] = char(code) end
end
-- C1 AF is a slash to some decoders: rules/path_view.lua reads it.
LONG_FORMS["\xC1\xAF"] = nil

-- Two- and three-byte forms of ASCII characters (RFC 3629 forbids them) and full-width letters.
local function fold_unicode(text)
  if #text < LONG_TEXT_BYTES and not find(text, "[\xC0\xC1\xE0\xEF]") then return text end
  if has_one_of(text, TWO_BYTES) then text = gsub(text, "[\xC0\xC1][\x80-\xBF]", LONG_FORMS) end
  if has_one_of(text, THREE_BYTES) then text = gsub(text, "\xE0([\x80\x81][\x80-\xBF])", LONG_FORMS) end
  if has_one_of(text, FULL_WIDTH) then text = gsub(text, "\xEF([\xBC\xBD][\x80-\xBF])", WIDE_FORMS) end
  return text
end

local NAMED = {
  quot = '"', apos = "'", lt = "<", gt = ">", amp = "&", nbsp = " ", colon = ":", lpar = "(", rpar = ")", tab = "\t",
  newline = "\n", sol = "/", bsol = "\\", semi = ";", period = ".", comma = ",", equals = "=", dollar = "$", grave = "`",
  lbrace = "{", lcub = "{", rbrace = "}", rcub = "}", lsqb = "[", rsqb = "]", num = "#", percnt = "%", vert = "|", excl = "!",
}

local FROM_LONG_HEX = memo(function(hex) return #hex <= 7 and FROM_HEX[hex] end)
local FROM_DECIMAL = memo(function(digits) return #digits <= 8 and from_code(tonumber(digits)) end)
local FROM_NAME = memo(function(name) return NAMED[name] or NAMED[string.lower(name)] end)

local function entities(text)
  if find(text, "&#", 1, true) then
    text = replaced(replaced(text, "&#x", "&#x(%x+);?", FROM_LONG_HEX), "&#X", "&#X(%x+);?", FROM_LONG_HEX)
    text = replaced(text, "&#", "&#(%d+);?", FROM_DECIMAL)
  end
  return replaced(text, "&", "&(%a+);", FROM_NAME)
end

local function js_escapes(text)
  text = replaced(text, "\\x", "\\x(%x%x)", HEX)
  if not find(text, "\\u", 1, true) then return text end
  return replaced(replaced(text, "\\u", "\\u(%x%x%x%x)", FROM_HEX), "\\u{", "\\u{0*(%x+)}", FROM_LONG_HEX)
end

-- Returns the decoded text and how many rounds of URL decoding changed it.
local function rounds(text)
  local count, most = 0, #text > LONG_BYTES and LONG_ROUNDS_MAX or ROUNDS_MAX
  while count < most and find(text, "%", 1, true) and find(text, "%%[%xuU]") do
    local decoded = url_once(text)
    if decoded == text then break end
    text, count = decoded, count + 1
  end
  return fold_unicode(text), count
end

-- A path, or text in which "+" is itself: decoded text and rounds of URL decoding.
function decode.path(raw)
  return rounds(raw)
end

-- Text of any place but the path; `is_form`: "+" is a space. Returns decoded text and rounds of URL decoding.
function decode.text(raw, is_form)
  local text = raw
  if is_form and find(text, "+", 1, true) then text = gsub(text, "+", " ") end
  local count
  text, count = rounds(text)
  if not find(text, "&", 1, true) and not find(text, "\\", 1, true) then return text, count end
  local plain = js_escapes(entities(text))
  if plain ~= text and find(plain, "%%%x") then return js_escapes(entities((rounds(plain)))), count end
  return plain, count
end

local SEXTETS = {}
for index = 0, 63 do
  SEXTETS[byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", index + 1)] = index
end
SEXTETS[byte("-")], SEXTETS[byte("_")] = 62, 63

local function base64_bytes(text, first, last)
  local parts = {}
  for at = first, last - 1, 4 do
    local a, b, c, d = byte(text, at, at + 3)
    local bits = ((SEXTETS[a] or 0) << 18) | ((SEXTETS[b] or 0) << 12) | ((SEXTETS[c] or 0) << 6) | (SEXTETS[d] or 0)
    parts[#parts + 1] = char(bits >> 16, bits >> 8 & 255, bits & 255)
  end
  return (gsub(table.concat(parts), "%z+$", ""))
end

-- Returns what a value in base64 stands for if that is text, else nil.
function decode.base64(text)
  if #text < BASE64_BYTES_MIN or #text > BASE64_BYTES_MAX or not find(text, "^[%w+/_-]+=?=?$") then return nil end
  local length = find(text, "=", 1, true)
  length = length and length - 1 or #text
  if length % 4 == 1 then return nil end
  if find(base64_bytes(text, 1, BASE64_BYTES_MIN), "[^%g%s]") then return nil end
  local plain = base64_bytes(text, 1, length)
  return not find(plain, "[^%g%s\x80-\xff]") and plain or nil
end

return decode
