-- Styles as browsers read them: without comments and escapes.
local css = {}

local find, gsub, sub = string.find, string.gsub, string.sub

local BYTES_MAX = 4000

local function from_escape(hex)
  local code = tonumber(hex, 16)
  return code >= 0x20 and code < 0x7f and string.char(code) or nil
end

local function plain(text)
  text = gsub(sub(text, 1, BYTES_MAX), "/%*[^*]*%*/", "")
  text = gsub(text, "\\0*(%x%x)%s?", from_escape)
  return gsub(text, "\\", "")
end

local CODE = {
  "expression%s*%(", "%-moz%-binding", "behaviou?r%s*:%s*url", "@import", "script%s*:", "%-o%-link",
  "url%s*%(%s*['\"]?%s*data:%a*/?[hsj%a]*html",
}

-- Whether a style runs code or loads a style sheet of others.
function css.runs(text)
  text = plain(text)
  for _, pattern in ipairs(CODE) do
    if find(text, pattern) then return true end
  end
  return false
end

-- Whether the value of a style attribute tries to leave it: braces, escapes or comments.
function css.leaves(text)
  return find(text, "[{}\\]") ~= nil or find(text, "/*", 1, true) ~= nil
end

return css
