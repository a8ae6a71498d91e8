-- Reads a decoded text as lenient path decoders do: overlong bytes, hexadecimal beyond f, 0x2f, slashes of other scripts.
local path_view = {}

local byte, char, find, gsub, lower, tonumber = string.byte, string.char, string.find, string.gsub, string.lower, tonumber

-- Slashes that best-fit conversions of Windows turn into "/" and "\".
local SLASHES = {
  ["\xE2\x88\x95"] = "/", ["\xE2\x81\x84"] = "/", ["\xE2\x88\x96"] = "\\", ["\xEF\x80\xA5"] = "/", ["\xEE\xBF\x88"] = "/",
}
local ZERO_X = { ["2e"] = ".", ["2f"] = "/", ["5c"] = "\\" }

local function digit(character)
  local code = byte(lower(character))
  return code <= 57 and code - 48 or code - 87
end

-- "%qf": decoders that do not check their digits compute (26 * 16 + 15) & 255.
local function lenient_hex(first, second)
  return char((digit(first) * 16 + digit(second)) & 255)
end

-- A lead byte C0 or C1 with any byte behind it: only the low six bits count; some decoders drop the lead byte.
local function two_bytes(lead, last)
  local code = (byte(lead) & 1) << 6 | byte(last) & 0x3F
  if code == 0x2E or code == 0x2F or code == 0x5C then return char(code) end
  if last == "\\" or last == "/" or last == "." then return last end
  if code == 0x1E or code == 0x3E then return "." end
  return code == 0x6F and "/" or nil
end

local function long_form(last)
  return char(byte(last) & 0x3F)
end

-- Returns the text as a path with "/" only, and whether a disguise was taken off.
function path_view.of(text)
  local plain = text
  if find(plain, "%", 1, true) then
    plain = gsub(plain, "%%([25])%%([cef])", lenient_hex)
    plain = gsub(plain, "%%([%dbcpq])(%w)", lenient_hex)
  end
  if find(plain, "[\xC0\xC1\xE2\xEE\xEF\xF0\xF8\xFC]") then
    plain = gsub(plain, "\xF0\x80\x80([\x80-\xBF])", long_form)
    plain = gsub(plain, "\xF8\x80\x80\x80([\x80-\xBF])", long_form)
    plain = gsub(plain, "\xFC\x80\x80\x80\x80([\x80-\xBF])", long_form)
    plain = gsub(plain, "([\xC0\xC1])([^%w%s])", two_bytes)
    plain = gsub(plain, "[\xE2\xEE\xEF][\x80-\xBF][\x80-\xBF]", SLASHES)
  end
  if find(plain, "x[25][efc]") then
    plain = gsub(plain, "0?x(2[ef])", ZERO_X)
    plain = gsub(plain, "0?x(5c)", ZERO_X)
  end
  local is_disguised = plain ~= text
  plain = gsub(plain, "[\1-\8\14-\31]", "")
  return (gsub(gsub(plain, "\\", "/"), "/%.?/+", "/")), is_disguised, plain
end

return path_view
