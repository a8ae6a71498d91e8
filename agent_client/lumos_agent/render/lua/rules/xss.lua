-- Cross-site scripting by structure: a value is read as HTML where it could land (text, inside a tag, inside a quoted
-- attribute) and as script without a tag.
local html = require("rules.html")
local script = require("rules.script")

local RULES = {
  script = { id = "xss-script", score = 10, why = "Opens a script element." },
  handler = { id = "xss-handler", score = 10, why = "A tag carries an event handler with code." },
  attribute = { id = "xss-attribute", score = 8, why = "Leaves an attribute and adds an event handler with code." },
  attribute_words = { id = "xss-attribute-words", score = 4, why = "The name of an event handler is assigned a value." },
  address = { id = "xss-address", score = 10, why = "An address in a tag runs code." },
  address_alone = { id = "xss-address-alone", score = 8, why = "The value is an address that runs code." },
  frame = { id = "xss-frame", score = 8, why = "Embeds a document or plug-in whose address is not an https page." },
  frame_plain = { id = "xss-frame-plain", score = 4, why = "Embeds another site's page." },
  document = { id = "xss-document", score = 7, why = "A base, meta or link element changes what the whole page loads." },
  style = { id = "xss-style", score = 8, why = "A style sheet runs code or loads a foreign one." },
  style_open = { id = "xss-style-element", score = 4, why = "Opens a style element or breaks out of a style." },
  vector = { id = "xss-svg", score = 4, why = "Opens an SVG or MathML element, in which scripts hide." },
  animation = { id = "xss-animation", score = 8, why = "An SVG animation rewrites an attribute." },
  legacy = { id = "xss-legacy", score = 6, why = "An element or attribute of old browsers that runs code." },
  form = { id = "xss-form", score = 5, why = "Brings a form of its own or redirects the page's form." },
  input = { id = "xss-input", score = 3, why = "Brings an input field." },
  page = { id = "xss-page", score = 3, why = "Brings the elements that only a whole page has." },
  image = { id = "xss-image", score = 3, why = "An image or media element without a proper address." },
  closing = { id = "xss-closing", score = 6, why = "Closes an element of the page that holds plain text or script." },
  breakout = { id = "xss-breakout", score = 4, why = "Closes a quoted attribute and its tag." },
  conditional = { id = "xss-conditional", score = 6, why = "A conditional comment or processing instruction holds code." },
  utf7 = { id = "xss-utf7", score = 8, why = "Spells a tag in UTF-7." },
  sink = { id = "xss-call", score = 6, why = "Calls a dialogue function of browsers, as proofs of script injection do." },
  evaluate = { id = "xss-evaluate", score = 6, why = "Evaluates text as script." },
  hidden = { id = "xss-hidden", score = 5, why = "Hides a name of script from filters." },
  constructor = { id = "xss-constructor", score = 7, why = "Reaches the function constructor through an object." },
  dom = { id = "xss-dom", score = 5, why = "Reads or changes the page, its cookies or its address by script." },
  throw = { id = "xss-throw", score = 2, why = "Throws a value, which can call a handler without parentheses." },
  computed = { id = "xss-computed", score = 8, why = "Calls a member of the global object by a computed name." },
  punctuation = { id = "xss-punctuation", score = 7, why = "Script without letters." },
  left = { id = "xss-left-string", score = 6, why = "Leaves a string of a script and calls a function." },
}
local SHAPE_RULES = {
  sink = RULES.sink, evaluate = RULES.evaluate, hidden = RULES.hidden, constructor = RULES.constructor, document = RULES.dom,
  throw = RULES.throw, computed = RULES.computed, punctuation = RULES.punctuation, left = RULES.left,
}

local find, gsub, match, sub = string.find, string.gsub, string.match, string.sub

local function set(text)
  local result = {}
  for word in string.gmatch(text, "%S+") do result[word] = true end
  return result
end

local FRAMES = set("iframe frame embed object applet portal fencedframe")
local VECTORS = set("svg math foreignobject")
local ANIMATIONS = set("animate set animatemotion animatetransform animatecolor handler")
local LEGACY = set("bgsound layer ilayer xml isindex keygen event-source import frameset noembed xss ?import ?xml-stylesheet "
  .. "?xml:namespace listing plaintext multicol")
local FORMS = set("input button select textarea option keygen dialog details")
local MEDIA = set("img image video audio source picture track input bgsound body table td")
local PAGE = set("html head body")
local RAW_TEXT = set("script title textarea style noscript xmp noembed noframes template iframe plaintext")
local LEGACY_ATTRIBUTES = set("dynsrc lowsrc fscommand seeksegmenttime datasrc datafld dataformatas allowscriptaccess")
local ADDRESSES = set("href src action formaction data xlink:href to from by values background poster code codebase classid content "
  .. "manifest longdesc usemap profile cite archive dynsrc lowsrc folder style value url link ping icon srcset dataurl movie")

local STYLE_BYTES_MAX = 4000

-- CSS without its comments and escapes, as browsers read it.
local function plain_css(text)
  text = gsub(text, "/%*[^*]*%*/", "")
  text = gsub(text, "\\0*(%x%x)%s?", function(hex)
    local code = tonumber(hex, 16)
    return code >= 0x20 and code < 0x7f and string.char(code) or nil
  end)
  return gsub(text, "\\", "")
end

local function runs_in_style(css)
  return find(css, "expression%s*%(") or find(css, "-moz-binding", 1, true) or find(css, "behaviou?r%s*:%s*url")
    or find(css, "@import", 1, true) or find(css, "script%s*:") or find(css, "url%s*%(%s*['\"]?%s*data:%a*/?[hsj%a]*html")
    or find(css, "-o-link", 1, true)
end

local EVENT_BYTES_MAX = 50

local function judge_attributes(name, attributes, report)
  for _, attribute in ipairs(attributes) do
    local key, content = attribute.name, attribute.value
    local event = match(sub(key, -EVENT_BYTES_MAX), "%f[%a]on(%a+)$")
    if event and #event > 2 and content then report(RULES.handler, name .. " " .. key .. "=" .. content) end
    if LEGACY_ATTRIBUTES[key] then report(RULES.legacy, name .. " " .. key) end
    if key == "srcdoc" then report(RULES.frame, name .. " srcdoc") end
    if key == "formaction" then report(RULES.form, name .. " formaction") end
    if content then
      if script.is_code_url(content) then report(RULES.address, name .. " " .. key .. "=" .. content) end
      if key == "style" then
        local css = plain_css(sub(content, 1, STYLE_BYTES_MAX))
        if runs_in_style(css) then report(RULES.style, content) end
        if find(css, "[{}]") or find(content, "\\", 1, true) or find(content, "/*", 1, true) then report(RULES.style_open, content) end
      end
    end
  end
end

local function value_of(attributes, wanted)
  for _, attribute in ipairs(attributes) do
    if attribute.name == wanted then return attribute.value or "" end
  end
  return nil
end

local function judge_frame(name, attributes, report)
  local address = value_of(attributes, "src") or value_of(attributes, "data") or value_of(attributes, "code")
  if address and find(address, "^%s*https?://[%w.-]+") then return report(RULES.frame_plain, name .. " " .. address) end
  if address or #attributes > 0 then return report(RULES.frame, name .. " " .. (address or attributes[1].name)) end
  if name == "iframe" then report(RULES.frame_plain, name) end
end

local function judge_document(name, attributes, report)
  if name == "base" and value_of(attributes, "href") then return report(RULES.document, "base") end
  if name == "meta" and (value_of(attributes, "http-equiv") or value_of(attributes, "charset")) then return report(RULES.document, "meta") end
  if name == "link" and value_of(attributes, "href") then report(RULES.document, "link") end
end

local function judge_element(name, attributes, report)
  if name == "script" or find(name, ":script$") then report(RULES.script, name) end
  if FRAMES[name] then judge_frame(name, attributes, report) end
  judge_document(name, attributes, report)
  if VECTORS[name] or find(name, "^svg:") then report(RULES.vector, name) end
  if ANIMATIONS[name] and value_of(attributes, "attributename") then report(RULES.animation, name) end
  if LEGACY[name] and (#attributes > 0 or name == "xss") then report(RULES.legacy, name) end
  if name == "style" then report(RULES.style_open, name) end
  if PAGE[name] or find(name, "^xsl:") or find(name, "^xss:") then report(RULES.page, name) end
  if name == "form" and #attributes > 0 then report(RULES.form, name) end
  if FORMS[name] and #attributes > 0 then report(RULES.input, name) end
  local source = MEDIA[name] and value_of(attributes, "src")
  if source and not find(source, "[./]") and not find(source, "^data:image/[pgjwb]") then report(RULES.image, name .. " " .. source) end
  if find(name, "^!%-%-%[if") or find(name, "^!%[") or name == "xi:include" or find(name, "^%?import") or find(name, "^%?xml%-stylesheet") then
    report(RULES.conditional, name)
  end
end

local TAIL = { "<script", "<img", "<svg", "<iframe", "<body", "<object" }
local TAIL_BYTES = 1000

local function judge_tags(text, report)
  local opened = {}
  local unread = html.each_tag(text, function(name, attributes, at, is_closing)
    if is_closing then
      if RAW_TEXT[name] and not opened[name] then report(RULES.closing, sub(text, at, at + 40)) end
      return
    end
    opened[name] = true
    judge_element(name, attributes, report)
    judge_attributes(name, attributes, report)
  end)
  for _, opening in ipairs(unread and TAIL or {}) do
    local at = find(text, opening, unread, true)
    if at then judge_tags(sub(text, at, at + TAIL_BYTES), report) end
  end
  if find(text, "<style", 1, true) and runs_in_style(plain_css(sub(text, 1, STYLE_BYTES_MAX))) then report(RULES.style, sub(text, 1, 60)) end
end

-- A handler outside of a tag: the value lands inside one.
local function judge_handlers(text, report)
  local has_tag, has_quote = find(text, "<", 1, true) ~= nil, find(text, "['\"]") ~= nil
  html.each_handler(text, function(event, before, code)
    if not has_tag and find(before, "[%w?&._$-]") then return end
    local is_code = find(code, "^[%s'\"`]*[%w_.$%[%]]+%s*[(`=]") or find(code, "script:", 1, true) or find(code, "^[%s'\"]*[(%[{!+/\\&]")
    if is_code then
      report(RULES.attribute, "on" .. event .. "=" .. sub(code, 1, 60))
    elseif before ~= "" and find(before, "[%s'\"`/]") and (has_tag or has_quote) then
      report(RULES.attribute_words, "on" .. event .. "=" .. sub(code, 1, 60))
    end
  end)
end

local function judge_address(text, report)
  local start = match(text, "^[%s%c'\"`(<>=]*(.*)$")
  if script.is_code_url(start) and not find(start, "^data:image/svg") then report(RULES.address_alone, sub(start, 1, 60)) return end
  local embedded = script.embedded_url(text)
  if embedded then report(RULES.address_alone, embedded) end
end

local function has_script_characters(text)
  return find(text, "[(`=%[]") ~= nil or find(text, "document", 1, true) ~= nil
end

local function gate(value)
  local text = value.text
  return #text > 4 and (find(text, "[<(`=%[:\xbc>]") ~= nil or find(text, "document", 1, true) ~= nil) or find(value.raw, "ADw-", 1, true) ~= nil
end

-- Old browsers read the bytes of "¼" and "¾" as "<" and ">" in US-ASCII pages.
local LEGACY_BRACKETS_MAX = 20

local function judge(value, report)
  local text = value.text
  if find(text, "\0", 1, true) then text = gsub(text, "\0", "") end
  if find(text, "\xbc", 1, true) and find(text, "\xc2?\xbc/?%a+") then
    text = gsub(text, "\xc2?\xbc(/?%a)", "<%1", LEGACY_BRACKETS_MAX)
  end
  if find(text, "<", 1, true) then judge_tags(text, report) end
  if find(text, "=", 1, true) and find(text, "on", 1, true) then judge_handlers(text, report) end
  if find(text, ":", 1, true) then judge_address(text, report) end
  if find(text, ">", 1, true) and find(text, "^[^<>]*['\"`][%s/]*>%s*[<%w]") then report(RULES.breakout, sub(text, 1, 60)) end
  if find(value.raw, "ADw-", 1, true) and find(value.raw, "AD4-", 1, true) then report(RULES.utf7, sub(value.raw, 1, 60)) end
  if has_script_characters(text) then
    script.each_shape(text, function(name, matched) report(SHAPE_RULES[name], matched) end)
  end
end

return { group = "xss", rules = RULES, gate = gate, judge = judge }
