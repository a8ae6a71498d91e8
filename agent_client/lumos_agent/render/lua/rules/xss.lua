-- Cross-site scripting by structure: a value is read as HTML where it could land (text, inside a tag, inside a quoted
-- attribute) and as script without a tag.
local css = require("rules.css")
local elements = require("rules.html_elements")
local html = require("rules.html")
local script = require("rules.script")

local RULES = {
  script = { id = "xss-script", score = 10, why = "Opens a script element." },
  handler = { id = "xss-handler", score = 10, why = "A tag carries an event handler with code." },
  attribute = { id = "xss-attribute", score = 8, why = "Leaves an attribute and adds an event handler with code." },
  attribute_words = { id = "xss-attribute-words", score = 4, why = "The name of an event handler is given a value." },
  address = { id = "xss-address", score = 10, why = "An address in a tag runs code." },
  address_alone = { id = "xss-address-alone", score = 8, why = "The value is an address that runs code." },
  frame = { id = "xss-frame", score = 8, why = "Embeds a document or plug-in from an odd address." },
  frame_plain = { id = "xss-frame-plain", score = 4, why = "Embeds another page." },
  document = { id = "xss-document", score = 7, why = "A base, meta or link element changes what the page loads." },
  style = { id = "xss-style", score = 8, why = "A style sheet runs code or loads a foreign one." },
  style_open = { id = "xss-style-element", score = 4, why = "Opens a style element or leaves a style attribute." },
  vector = { id = "xss-svg", score = 4, why = "Opens an SVG or MathML element, in which scripts hide." },
  animation = { id = "xss-animation", score = 8, why = "An SVG animation rewrites an attribute." },
  legacy = { id = "xss-legacy", score = 6, why = "An element or attribute of old browsers that runs code." },
  form = { id = "xss-form", score = 5, why = "Brings a form of its own or redirects the page's form." },
  input = { id = "xss-input", score = 3, why = "Brings an input field." },
  page = { id = "xss-page", score = 2, why = "Brings the elements that only a whole page has." },
  image = { id = "xss-image", score = 3, why = "An image or media element without a proper address." },
  closing = { id = "xss-closing", score = 6, why = "Closes an element of the page that holds plain text or script." },
  breakout = { id = "xss-breakout", score = 4, why = "Closes a quoted attribute and its tag." },
  conditional = { id = "xss-conditional", score = 6, why = "A conditional comment or processing instruction." },
  utf7 = { id = "xss-utf7", score = 8, why = "Spells a tag in UTF-7." },
  sink = { id = "xss-call", score = 6, why = "Calls a dialogue function of browsers, as proofs of injection do." },
  evaluate = { id = "xss-evaluate", score = 6, why = "Evaluates text as script." },
  hidden = { id = "xss-hidden", score = 5, why = "Hides a name of script from filters." },
  constructor = { id = "xss-constructor", score = 7, why = "Reaches the function constructor through an object." },
  dom = { id = "xss-dom", score = 5, why = "Reads or changes the page, its cookies or its address by script." },
  throw = { id = "xss-throw", score = 2, why = "Throws a value, which can call a handler without parentheses." },
  computed = { id = "xss-computed", score = 8, why = "Calls a member of the global object by a computed name." },
  punctuation = { id = "xss-punctuation", score = 7, why = "Script without letters." },
  left = { id = "xss-left-string", score = 6, why = "Leaves a string of a script and calls a function." },
}

local EXCERPT_BYTES = 60

local find, gsub, match, sub = string.find, string.gsub, string.match, string.sub

local function judge_attribute(tag, key, content, report)
  local excerpt = tag .. " " .. sub(key, 1, EXCERPT_BYTES) .. "=" .. sub(content or "", 1, EXCERPT_BYTES)
  if content and html.is_handler(key) then report(RULES.handler, excerpt) end
  local rule = elements.ATTRIBUTES[key]
  if rule then report(RULES[rule], excerpt) end
  if not content then return end
  if script.is_code_url(content) then report(RULES.address, excerpt) end
  if key == "style" then
    if css.runs(content) then report(RULES.style, excerpt) end
    if css.leaves(content) then report(RULES.style_open, excerpt) end
  end
end

local TAIL = { "<script", "<img", "<svg", "<iframe", "<body", "<object" }
local TAIL_BYTES = 1000

local function judge_tags(text, report)
  local opened = {}
  local unread = html.each_tag(text, function(name, attributes, at, is_closing)
    if is_closing then
      if elements.RAW_TEXT[name] and not opened[name] then report(RULES.closing, sub(text, at, at + EXCERPT_BYTES)) end
      return
    end
    opened[name] = true
    -- A text that ends with the name of a tag asks for it, and opens nothing.
    if at + #name == #text then return end
    elements.judge(name, attributes, function(rule, matched) report(RULES[rule], matched) end)
    for _, attribute in ipairs(attributes) do judge_attribute(name, attribute.name, attribute.value, report) end
  end)
  for _, opening in ipairs(unread and TAIL or {}) do
    local at = find(text, opening, unread, true)
    if at then judge_tags(sub(text, at, at + TAIL_BYTES), report) end
  end
  local style = find(text, "<style", 1, true)
  if style and css.runs(sub(text, style)) then report(RULES.style, sub(text, style, style + EXCERPT_BYTES)) end
end

local CODE = { "^[%s'\"`]*[%w_.$%[%]]+%s*[(`=]", "script:", "^[%s'\"]*[(%[{!+/\\&]" }

local function is_code(text)
  for _, pattern in ipairs(CODE) do
    if find(text, pattern) then return true end
  end
  return false
end

-- Handlers outside of a tag: the value lands inside one. Without a tag, a name in an address or a path is none.
local function judge_handlers(text, report)
  local has_tag, has_quote = find(text, "<", 1, true) ~= nil, find(text, "['\"]") ~= nil
  html.each_handler(text, function(event, before, code)
    if not has_tag and find(before, "[%w?&._$-]") then return end
    local excerpt = "on" .. event .. "=" .. sub(code, 1, EXCERPT_BYTES)
    if is_code(code) then
      report(RULES.attribute, excerpt)
    elseif find(before, "[%s'\"`/]") and (has_tag or has_quote) then
      report(RULES.attribute_words, excerpt)
    end
  end)
end

local function judge_address(text, report)
  local start = match(text, "^[%s%c'\"`(<>=]*(.*)$")
  local runs = script.is_code_url(start) and find(start, "[(`=%[,\\%%]") and not find(start, "^data:image/svg")
  if runs then
    report(RULES.address_alone, sub(start, 1, EXCERPT_BYTES))
  else
    local embedded = script.embedded_url(text)
    if embedded then report(RULES.address_alone, embedded) end
  end
end

local function judge_script(text, report)
  if find(text, "[(`=%[]") or find(text, "document", 1, true) then
    script.each_shape(text, function(rule, matched) report(RULES[rule], matched) end)
  end
end

-- Old browsers read the bytes of "¼" as "<" in US-ASCII pages.
local LEGACY_BRACKETS_MAX = 20

local function as_browsers_read(text)
  if find(text, "\0", 1, true) then text = gsub(text, "\0", "") end
  if find(text, "\xbc", 1, true) then text = gsub(text, "\xc2?\xbc(/?%a)", "<%1", LEGACY_BRACKETS_MAX) end
  return text
end

local function is_utf7(raw)
  return find(raw, "ADw-", 1, true) ~= nil
end

local function gate(value)
  local text = value.text
  if #text <= 4 then return false end
  return find(text, "[<(`=%[:\xbc>]") ~= nil or find(text, "document", 1, true) ~= nil or is_utf7(value.raw)
end

local function judge(value, report)
  local text = as_browsers_read(value.text)
  if find(text, "<", 1, true) then judge_tags(text, report) end
  if find(text, "=", 1, true) and find(text, "on", 1, true) then judge_handlers(text, report) end
  if find(text, ":", 1, true) then judge_address(text, report) end
  if find(text, ">", 1, true) and find(text, "^[^<>]*['\"`]/?>[<%w]") then
    report(RULES.breakout, sub(text, 1, EXCERPT_BYTES))
  end
  if is_utf7(value.raw) and find(value.raw, "AD4-", 1, true) then
    report(RULES.utf7, sub(value.raw, 1, EXCERPT_BYTES))
  end
  judge_script(text, report)
end

return {
  group = "xss", rules = RULES, gate = gate, judge = judge,
  about = "Scripts and markup that would run in the browsers of other visitors.",
}
