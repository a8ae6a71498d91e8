-- Which elements and attributes of HTML are none of an honest text's. Rules are named as in xss.lua.
local elements = {}

local find = string.find

local function set(text)
  local result = {}
  for word in string.gmatch(text, "%S+") do result[word] = true end
  return result
end

-- Elements whose content is not HTML: only who lands inside one has to close it.
elements.RAW_TEXT = set("script title textarea style noscript xmp noembed noframes template iframe plaintext")

-- Attributes that are attacks on any element.
elements.ATTRIBUTES = {
  srcdoc = "frame", formaction = "form", dynsrc = "legacy", lowsrc = "legacy", fscommand = "legacy",
  seeksegmenttime = "legacy", datasrc = "legacy", datafld = "legacy", dataformatas = "legacy",
  allowscriptaccess = "legacy",
}

local FRAMES = set("iframe frame embed object applet portal fencedframe")
local VECTORS = set("svg math foreignobject")
local ANIMATIONS = set("animate set animatemotion animatetransform animatecolor handler")
local LEGACY = set([[
  bgsound layer ilayer xml isindex keygen event-source import frameset noembed ?import ?xml-stylesheet ?xml:namespace
  listing plaintext multicol
]])
local FIELDS = set("input button select textarea option keygen dialog details")
local MEDIA = set("img image video audio source picture track input bgsound body table td")
local PAGE = set("html head body")

local function value_of(attributes, wanted)
  for _, attribute in ipairs(attributes) do
    if attribute.name == wanted then return attribute.value or "" end
  end
  return nil
end

local function has_value(attributes)
  for _, attribute in ipairs(attributes) do
    if attribute.value then return true end
  end
  return false
end

local function judge_frame(name, attributes, visit)
  local address = value_of(attributes, "src") or value_of(attributes, "data") or value_of(attributes, "code")
  if address and find(address, "^%s*https?://[%w.-]+") then
    visit("frame_plain", name .. " " .. address)
  elseif #attributes > 0 then
    visit("frame", name .. " " .. (address or attributes[1].name))
  elseif name == "iframe" then
    visit("frame_plain", name)
  end
end

local function changes_document(name, attributes)
  return name == "base" and value_of(attributes, "href") or name == "link" and value_of(attributes, "href")
    or name == "meta" and (value_of(attributes, "http-equiv") or value_of(attributes, "charset"))
end

local function is_broken_media(name, attributes)
  local source = MEDIA[name] and value_of(attributes, "src")
  return source and not find(source, "[./]") and not find(source, "^data:image/[pgjwb]")
end

local function is_conditional(name)
  return find(name, "^!%-%-%[if") or find(name, "^!%[if") or name == "xi:include" or name == "?import"
    or name == "?xml-stylesheet"
end

-- Calls visit(rule, matched) for what an element with these attributes does.
function elements.judge(name, attributes, visit)
  if name == "script" or find(name, ":script$") then visit("script", name) end
  if FRAMES[name] then judge_frame(name, attributes, visit) end
  if changes_document(name, attributes) then visit("document", name) end
  if VECTORS[name] or find(name, "^svg:") then visit("vector", name) end
  if ANIMATIONS[name] and value_of(attributes, "attributename") then visit("animation", name) end
  if LEGACY[name] and has_value(attributes) or name == "xss" then visit("legacy", name) end
  if name == "style" then visit("style_open", name) end
  if PAGE[name] or find(name, "^xsl:") or find(name, "^xss:") then visit("page", name) end
  if name == "form" and has_value(attributes) then visit("form", name) end
  if FIELDS[name] and has_value(attributes) then visit("input", name) end
  if is_broken_media(name, attributes) then visit("image", name) end
  if is_conditional(name) then visit("conditional", name) end
end

return elements
