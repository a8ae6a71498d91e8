-- Decodes as attackers encode: repeated URL encoding, %u, overlong UTF-8, full-width forms, HTML entities, JS escapes.
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

local function from_hex(hex)
  return from_code(tonumber(hex, 16))
end

local LONG_TEXT_BYTES, BYTES_PER_MARK = 2048, 64

-- gsub(text, pattern, with) where each match begins with `mark`. Plain searches are hundreds of times faster than
-- patterns, so a long text with few marks is read from mark to mark; `with` is a table or a function.
local function replaced(text, mark, pattern, with)
  local at = find(text, mark, 1, true)
  if not at then return text end
  if #text < LONG_TEXT_BYTES then return (gsub(text, pattern, with)) end
  local anchored, is_table = "^" .. pattern, type(with) == "table"
  local parts, from = {}, 1
  for _ = 1, #text // BYTES_PER_MARK do
    local _, last, capture = find(text, anchored, at)
    local new = last and (is_table and with[capture] or not is_table and with(capture))
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
  text = replaced(replaced(text, "%u", "%%u(%x%x%x%x)", from_hex), "%U", "%%U(%x%x%x%x)", from_hex)
  return replaced(text, "%", "%%(%x%x)", HEX)
end

local function has_one_of(text, marks)
  for index = 1, #marks do
    if find(text, marks[index], 1, true) then return true end
  end
  return false
end

local LEADS = { "\xC0", "\xC1", "\xE0", "\xEF" }

-- Two- and three-byte forms of ASCII characters (RFC 3629 forbids them) and full-width letters.
local function fold_unicode(text)
  if not has_one_of(text, LEADS) then return text end
  text = gsub(text, "([\xC0\xC1])([\x80-\xBF])", function(first, second)
    -- C1 AF is a slash to some decoders: rules/path_view.lua reads it.
    if first == "\xC1" and second == "\xAF" then return nil end
    return char((byte(first) - 0xC0) * 64 + byte(second) - 0x80)
  end)
  text = gsub(text, "\xE0([\x80-\x81])([\x80-\xBF])", function(second, third)
    return char((byte(second) - 0x80) * 64 + byte(third) - 0x80)
  end)
  return (gsub(text, "\xEF([\xBC\xBD])([\x80-\xBF])", function(second, third)
    local code = 0xF000 + (byte(second) - 0x80) * 64 + byte(third) - 0x80
    return (code >= 0xFF01 and code <= 0xFF5E) and char(code - 0xFEE0) or nil
  end))
end

local NAMED = {
  quot = '"', apos = "'", lt = "<", gt = ">", amp = "&", nbsp = " ", colon = ":", lpar = "(", rpar = ")", tab = "\t",
  newline = "\n", sol = "/", bsol = "\\", semi = ";", period = ".", comma = ",", equals = "=", dollar = "$", grave = "`",
  lbrace = "{", lcub = "{", rbrace = "}", rcub = "}", lsqb = "[", rsqb = "]", num = "#", percnt = "%", vert = "|", excl = "!",
}

local function from_long_hex(hex)
  return #hex <= 7 and from_hex(hex) or nil
end

local function from_decimal(digits)
  return #digits <= 8 and from_code(tonumber(digits)) or nil
end

local function from_name(name)
  return NAMED[name] or NAMED[string.lower(name)]
end

local function entities(text)
  if find(text, "&#", 1, true) then
    text = replaced(replaced(text, "&#x", "&#x(%x+);?", from_long_hex), "&#X", "&#X(%x+);?", from_long_hex)
    text = replaced(text, "&#", "&#(%d+);?", from_decimal)
  end
  return replaced(text, "&", "&(%a+);", from_name)
end

local function js_escapes(text)
  text = replaced(text, "\\x", "\\x(%x%x)", HEX)
  if not find(text, "\\u", 1, true) then return text end
  return replaced(replaced(text, "\\u", "\\u(%x%x%x%x)", from_hex), "\\u{", "\\u{0*(%x+)}", from_long_hex)
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
