-- Reads the strings of a JSON text (RFC 8259) one after another, without recursion and however broken the rest may be.
local memo = require("memo")

local json = {}

local find, gsub, match, sub, char, byte = string.find, string.gsub, string.match, string.sub, string.char, string.byte

-- Character behind a backslash -> what both stand for; \u is read apart.
local ESCAPES = {}
for code = 0, 255 do ESCAPES[char(code)] = char(code) end
ESCAPES.b, ESCAPES.f, ESCAPES.n, ESCAPES.r, ESCAPES.t, ESCAPES.u = "\b", "\f", "\n", "\r", "\t", nil
-- Words of JSON, and the exponent of a number.
local LITERALS = { ["true"] = true, ["false"] = true, null = true, e = true, E = true }

local CHARACTERS = memo(function(hex)
  local code = tonumber(hex, 16)
  return code < 0x80 and char(code) or utf8.char(code)
end)

-- An escaped backslash before "u…" is read as \u too: decoders behind may do the same.
local function unescaped(text)
  if not find(text, "\\", 1, true) then return text end
  text = gsub(text, "\\(.)", ESCAPES)
  return find(text, "\\u", 1, true) and (gsub(text, "\\u(%x%x%x%x)", CHARACTERS)) or text
end

-- Returns the text of the string whose quote stands at `at`, and where it ends (nil: it does not). `quotes`: the text
-- without what is escaped, each character in its place.
local function string_at(text, quotes, at)
  local stop = find(quotes, '"', at + 1, true)
  return unescaped(sub(text, at + 1, stop and stop - 1)), stop
end

-- Calls `each(key, text)` for up to `most` strings and `each(nil, key)` for keys; returns where it stops to be JSON or
-- the rest begins, or nil.
function json.each(text, most, each)
  local at, key, count = 1, "", 0
  local quotes = find(text, "\\", 1, true) and gsub(text, "\\.", "  ") or text
  while true do
    at = find(text, "[^%s,%[%]{}:%d.+-]", at)
    if not at then return nil end
    if byte(text, at) == 34 then
      if count >= most then return at end
      count = count + 1
      local value, stop = string_at(text, quotes, at)
      if stop and find(text, "^%s*:", stop + 1) then
        key = value
        each(nil, value)
      else
        each(key, value)
      end
      if not stop then return nil end
      at = stop + 1
    else
      local word = match(text, "^%a+", at)
      if not word or not LITERALS[word] then return at end
      at = at + #word
    end
  end
end

return json
