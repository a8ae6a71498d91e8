-- What rules judge: one decoded value with where it came from.
local decode = require("decode")
local known = require("known")
local windows = require("windows")

local values = {}

local find, lower, gmatch = string.find, string.lower, string.gmatch

local Value = {}
Value.__index = Value

-- The set of lower-case words in the value.
function Value:words()
  local set = self.word_set
  if not set then
    set = {}
    for word in gmatch(self.text, "[%w_]+") do set[word] = true end
    self.word_set = set
  end
  return set
end

-- Tells values apart: what has the same key is judged alike.
function Value:key()
  return known.key(self.place, self.name, self.raw)
end

-- Leaves of a text that is longer than `size` what is decisive.
function Value:shorten(size)
  if #self.text <= size then return end
  self.cased = windows.of(self.cased, size)
  self.text, self.raw = lower(self.cased), self.cased
end

-- A value whose text is decoded: `cased`, after `rounds` of URL decoding.
function values.made(place, name, raw, cased, rounds)
  return setmetatable({
    place = place, name = lower(name), raw = raw, cased = cased, text = lower(cased), rounds = rounds,
  }, Value)
end

-- Names of classes hide in Base64, which mixes small and capital letters.
local function is_mixed(text)
  return #text >= 9 and find(text, "%l%d?%u") ~= nil
end

-- Letters and digits that attack nothing.
function values.is_plain(text)
  return not find(text, "[^%w]") and not is_mixed(text)
end

-- What names are made of, but the name of a class (java.lang.Runtime) or a hidden one.
function values.is_plain_name(text)
  return not find(text, "[^%w_. -]") and not find(text, "__", 1, true) and not find(text, "%a%.%a") and not is_mixed(text)
end

local FORM_PLACES = { query = true, form = true, name = true }

-- A value as it was sent; nil if it was judged clean before.
function values.sent(place, name, raw)
  if known.is_clean(place, lower(name), raw) then return nil end
  return values.made(place, name, raw, decode.text(raw, FORM_PLACES[place]))
end

-- A value whose container was decoded already, as in JSON: "+" is itself; nil if it was judged clean before.
function values.decoded(place, name, raw)
  if known.is_clean(place, lower(name), raw) then return nil end
  return values.made(place, name, raw, decode.text(raw, false))
end

-- A path or a segment of one.
function values.of_path(place, raw)
  return values.made(place, "", raw, decode.path(raw))
end

-- The value that `value` carries in base64, or nil.
function values.unwrapped(value)
  local plain = decode.base64(value.cased)
  return plain and values.made(value.place, value.name, value.raw, decode.text(plain, false)) or nil
end

return values
