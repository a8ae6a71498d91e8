-- Reads the strings of a JSON text (RFC 8259) one after another, without recursion and however broken the rest may be.
local json = {}

local find, gsub, sub, char, byte = string.find, string.gsub, string.sub, string.char, string.byte

-- Character behind a backslash -> what both stand for; \u is read apart.
local ESCAPES = {}
for code = 0, 255 do ESCAPES[char(code)] = char(code) end
ESCAPES.b, ESCAPES.f, ESCAPES.n, ESCAPES.r, ESCAPES.t, ESCAPES.u = "\b", "\f", "\n", "\r", "\t", nil
local LITERALS = { ["true"] = true, ["false"] = true, null = true }

local function from_hex(hex)
  local code = tonumber(hex, 16)
  return code < 0x80 and char(code) or utf8.char(code)
end

-- An escaped backslash before "u…" is read as \u too: decoders behind may do the same.
local function unescaped(text)
  if not find(text, "\\", 1, true) then return text end
  text = gsub(text, "\\(.)", ESCAPES)
  return find(text, "\\u", 1, true) and (gsub(text, "\\u(%x%x%x%x)", from_hex)) or text
end

-- Returns the text of the string whose quote stands at `at`, and where it ends (nil: it does not).
local function string_at(text, at)
  local from = at + 1
  while true do
    local stop = find(text, '["\\]', from)
    if not stop then return unescaped(sub(text, at + 1)), nil end
    if byte(text, stop) == 34 then return unescaped(sub(text, at + 1, stop - 1)), stop end
    from = stop + 2
  end
end

-- Calls `each(key, text)` for strings and `each(nil, key)` for keys; returns where it stops to be JSON, or nil.
function json.each(text, each)
  local at, key = 1, ""
  while true do
    at = find(text, "[^%s,%[%]{}:%d.+-]", at)
    if not at then return nil end
    local first, last = find(text, "^%a+", at)
    if first then
      local word = sub(text, first, last)
      if not LITERALS[word] and word ~= "e" and word ~= "E" then return at end
      at = last + 1
    elseif byte(text, at) == 34 then
      local value, stop = string_at(text, at)
      if stop and find(text, "^%s*:", stop + 1) then
        key = value
        each(nil, value)
      else
        each(key, value)
      end
      if not stop then return nil end
      at = stop + 1
    else
      return at
    end
  end
end

return json
