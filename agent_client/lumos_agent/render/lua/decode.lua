-- Decodes as attackers encode: repeated URL encoding, %u, overlong UTF-8, full-width forms, HTML entities.
local decode = {}

local ROUNDS_MAX = 4
local BYTES_MAX = 8192

local function from_hex(hex)
  return string.char(tonumber(hex, 16))
end

local function from_code(code)
  if code < 0x80 then return string.char(code) end
  if code >= 0xFF01 and code <= 0xFF5E then return string.char(code - 0xFEE0) end
  if code > 0x10FFFF then return "?" end
  return utf8.char(code)
end

local function url_once(text)
  text = string.gsub(text, "%%[uU](%x%x%x%x)", function(hex) return from_code(tonumber(hex, 16)) end)
  return (string.gsub(text, "%%(%x%x)", from_hex))
end

-- Two- and three-byte forms of ASCII characters (RFC 3629 forbids them) and full-width letters.
local function fold_unicode(text)
  if not string.find(text, "[\xC0\xC1\xE0\xEF]") then return text end
  text = string.gsub(text, "([\xC0\xC1])([\x80-\xBF])", function(first, second)
    return string.char((string.byte(first) - 0xC0) * 64 + string.byte(second) - 0x80)
  end)
  text = string.gsub(text, "\xE0([\x80-\x81])([\x80-\xBF])", function(second, third)
    return string.char((string.byte(second) - 0x80) * 64 + string.byte(third) - 0x80)
  end)
  return (string.gsub(text, "\xEF([\xBC\xBD])([\x80-\xBF])", function(second, third)
    local code = 0xF000 + (string.byte(second) - 0x80) * 64 + string.byte(third) - 0x80
    return (code >= 0xFF01 and code <= 0xFF5E) and string.char(code - 0xFEE0) or nil
  end))
end

local NAMED = { quot = '"', apos = "'", lt = "<", gt = ">", amp = "&", nbsp = " ", colon = ":", lpar = "(", rpar = ")" }

local function entities(text)
  if not string.find(text, "&", 1, true) then return text end
  text = string.gsub(text, "&#[xX](%x+);?", function(hex)
    return #hex <= 6 and from_code(tonumber(hex, 16)) or nil
  end)
  text = string.gsub(text, "&#(%d+);?", function(digits)
    return #digits <= 7 and from_code(tonumber(digits)) or nil
  end)
  return (string.gsub(text, "&(%a+);", NAMED))
end

local function rounds(text)
  local count = 0
  while count < ROUNDS_MAX and string.find(text, "%", 1, true) do
    local decoded = url_once(text)
    if decoded == text then break end
    text, count = decoded, count + 1
  end
  return fold_unicode(text), count
end

-- A query's name or value: "+" is a space. Lower case.
function decode.value(raw)
  local text = string.gsub(string.sub(raw, 1, BYTES_MAX), "+", " ")
  return string.lower(entities((rounds(text))))
end

-- A path; also returns how many rounds of URL decoding it took.
function decode.path(raw)
  local text, count = rounds(string.sub(raw, 1, BYTES_MAX))
  return string.lower(text), count
end

return decode
