-- Reads the text, the CDATA sections and the attributes of an XML document, however broken it may be.
local xml = {}

local find, gmatch, match, sub = string.find, string.gmatch, string.match, string.sub

local function each_cdata(text, each)
  local at = 1
  while true do
    local _, start = find(text, "<![CDATA[", at, true)
    if not start then return end
    local stop = find(text, "]]>", start, true) or #text + 1
    each(sub(text, start + 1, stop - 1))
    at = stop
  end
end

-- Calls `each(text)` up to `most` times; returns whether that was all.
function xml.each(text, most, each)
  local count = 0
  local function note(value)
    count = count + 1
    if count <= most and find(value, "%S") then each(value) end
  end
  each_cdata(text, note)
  for value in gmatch(text, ">([^<]+)") do
    if count > most then return false end
    note(value)
  end
  for value in gmatch(text, '[%w_:.-]%s?=%s?"([^"]+)"') do
    if count > most then return false end
    note(value)
  end
  for value in gmatch(text, "[%w_:.-]%s?=%s?'([^']+)'") do
    if count > most then return false end
    note(value)
  end
  return true
end

return xml
