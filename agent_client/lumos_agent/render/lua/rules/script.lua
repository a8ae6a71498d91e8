-- JavaScript without a tag around it: what breaks out of a string, calls what only an attack calls, or hides a name.
local script = {}

local find, gsub, match, sub = string.find, string.gsub, string.match, string.sub

-- Addresses that scripts put into links to make them do nothing, and browser buttons.
local IS_HARMLESS = { [""] = true }
for code in string.gmatch([[
  ; ;; void(0) void(0); void0 void0; void(null) void(null); void() void(); # // false false; returnfalse
  returnfalse; history.back() history.back(); history.go(-1) history.go(-1); window.print() window.print(); null
  undefined 0
]], "%S+") do IS_HARMLESS[code] = true end

local DATA_TYPES = {
  "^data:text/html", "^data:text/xml", "^data:image/svg", "^data:application/x", "^data:text/javascript",
  "^data:application/javascript", "^data:[;,]", "^data:text/css", "^data:,", "^data:%a+/%a*html",
}

-- Whether an address runs code. White space and control characters within the scheme count for nothing.
function script.is_code_url(url)
  if not find(url, ":", 1, true) then return false end
  local bare = gsub(sub(url, 1, 300), "[%s%c\\]", "")
  bare = gsub(bare, "^[^%w<]+", "")
  local scheme, code = match(bare, "^(%a+):(.*)$")
  if not scheme then return false end
  if scheme == "javascript" or scheme == "vbscript" or scheme == "livescript" or scheme == "mocha" then
    return not IS_HARMLESS[match(code, "^[^'\"}<>]*")]
  end
  if scheme ~= "data" then return false end
  for _, pattern in ipairs(DATA_TYPES) do
    if find(bare, pattern) then return true end
  end
  return false
end

local CALL_ARGUMENT = "%s*%(?%s*[%d'\"`/%[{)!+$~-]"

-- For each plain text that must occur, what may stand there and which rule that proves.
local SHAPES = {
  { "alert", {
    { "alert%)?[(`]" .. CALL_ARGUMENT, "sink" }, { "alert%s?%(+%s*%a*[%.(%['\"`]", "sink" },
    { "[=(,{;:]alert[;,)}]", "sink" }, { "alert%.[cab][api][lpn]", "sink" },
  } },
  { "confirm", {
    { "confirm%)?[(`]" .. CALL_ARGUMENT, "sink" }, { "confirm%s?%(+%s*%a*[%.(%['\"`]", "sink" },
    { "confirm%.[cab][api][lpn]", "sink" },
  } },
  { "prompt", {
    { "prompt%)?[(`]" .. CALL_ARGUMENT, "sink" }, { "prompt%s?%(+%s*%a*[%.(%['\"`]", "sink" },
    { "prompt%.[cab][api][lpn]", "sink" },
  } },
  { "eval", {
    { "%f[%w]eval%)?%s*[(`]", "evaluate" }, { "%f[%w]eval%.call", "evaluate" },
  } },
  { "execscript", {
    { "execscript%s*%(", "evaluate" },
  } },
  { "settimeout", {
    { "settimeout%s*[(`]%s*['\"`%[]", "evaluate" },
  } },
  { "setinterval", {
    { "setinterval%s*[(`]%s*['\"`%[]", "evaluate" },
  } },
  { "function", {
    { "%f[%w]function%s*%(%s*['\"`/]", "evaluate" }, { "%f[%w]function`[^`%s]+`", "evaluate" },
  } },
  { "import", {
    { "%f[%w]import%s*%(%s*['\"`/]", "evaluate" }, { "importscripts%s*%(", "dom" },
  } },
  { "fromcharcode", {
    { "fromcharcode", "hidden" },
  } },
  { "atob", {
    { "%f[%w]atob['\"%]]*%s*[(`]", "hidden" },
  } },
  { ".source", {
    { "/[%.%[]['\"]?source", "hidden" },
  } },
  { "unescape", {
    { "unescape%s*%(%s*['\"`%%%a]", "hidden" },
  } },
  { "tostring", {
    { "%d%.?%.tostring%(%d", "hidden" },
  } },
  { "constructor", {
    { "constructor%s*[(`%[]", "constructor" }, { "constructor%.constructor", "constructor" },
    { "%[%s*['\"`]constructor", "constructor" }, { "constructor%.prototype", "constructor" },
    { "[%]'\")}]%.constructor", "constructor" },
  } },
  { "document", {
    { "document%s*%.%s*cookie", "dom" }, { "document%s*%.%s*write", "dom" },
    { "document%s*%.%s*domain", "dom" }, { "document%s*%.%s*location", "dom" },
    { "document%[%s*['\"`]", "dom" }, { "document%s*%.%s*createelement%s*%(", "dom" },
    { "document%.body%.", "dom" }, { "document%.getelement", "dom" }, { "with%s*%(+document", "dom" },
  } },
  { "innerhtml", {
    { "innerhtml%s*=", "dom" },
  } },
  { "outerhtml", {
    { "outerhtml%s*=", "dom" },
  } },
  { "localstorage", {
    { "localstorage[%.%[]", "dom" },
  } },
  { "location", {
    { "location%s*=%s*['\"`]%s*[jh/]", "dom" }, { "location%s*=%s*atob", "dom" },
    { "location%s*=%s*window%.", "dom" }, { "location%s*=%s*location%.%a", "dom" }, { "location=name[;)}]", "dom" },
    { "location%.[hra][reas][efps][fhli%(]", "dom" },
  } },
  { "navigation", {
    { "navigation%.navigate", "dom" },
  } },
  { "window", {
    { "window%.[noe][apv][mea][enl]", "dom" },
  } },
  { "xmlhttprequest", {
    { "new%s+xmlhttprequest", "dom" },
  } },
  { "fetch", {
    { "%f[%w]fetch%s*[(`]%s*['\"`]", "dom" },
  } },
  { "reflect", {
    { "%f[%w]reflect%.[acgsd][peo][pntf][ls]?[yti]?%a*[%.(`]", "hidden" },
  } },
  { "throw", {
    { "throw%s*['\"%d/`{o]", "throw" },
  } },
  { "__proto__", {
    { "__proto__%s*[%.%[=]", "constructor" },
  } },
  { "${", {
    { "`%s*%$%{", "hidden" },
  } },
}

-- Comments inside code are white space.
local function without_comments(text)
  if not find(text, "/*", 1, true) then return text end
  return (gsub(text, "/%*[^*]*%*/", ""))
end

local EXCERPT_BYTES = 60
local OCCURRENCES_MAX = 30
local WINDOW = 160

-- Calls visit(window) with the text around each occurrence of `trigger`, until it returns something; returns that.
local function around(text, trigger, before, visit)
  local at = find(text, trigger, 1, true)
  for _ = 1, OCCURRENCES_MAX do
    if not at then return nil end
    local result = visit(sub(text, math.max(1, at - before), at + WINDOW))
    if result then return result end
    at = find(text, trigger, at + #trigger, true)
  end
  return nil
end

-- A member of the global object by a computed name, then called: top["al"+"ert"](1).
local GLOBALS = { "window", "self", "top", "parent", "frames", "globalthis", "this", "opener", "document", "content" }
local function computed_call(text)
  if not find(text, "[", 1, true) or not find(text, "]", 1, true) then return nil end
  for _, name in ipairs(GLOBALS) do
    local found = find(text, name, 1, true) and around(text, name, 1, function(window)
      local from, stop = find(window, "^.?%f[%w]" .. name .. "%s*%??%.?%s*%[")
      if not from then return nil end
      local is_called = find(window, "][%s)]*%??%.?[(`]", stop)
      local is_joined = find(window, "^%s*['\"`][^'\"`]*['\"`]%s*[+%]]%s*['\"`=]", stop + 1)
      return (is_called or is_joined) and sub(window, 1, EXCERPT_BYTES) or nil
    end)
    if found then return found end
  end
  return around(text, "[]", 0, function(window)
    return match(window, "^%[%]%s*%[['\"(!+][^%]]*%]") or match(window, "^%[%]%.%a+%.%a+`?")
      or match(window, "^%[%]%.%a+%(%a+")
  end)
end

-- Code without letters: names are spelt with ![], +[] and {}.
local function punctuation_code(text)
  if not find(text, "![]", 1, true) then return nil end
  local _, count = gsub(sub(text, 1, 2000), "[!+%s%[(]%[%]", "")
  return count >= 4 and sub(text, 1, EXCERPT_BYTES) or nil
end

-- A quote that closes a string, an operator, then a call: '-alert(1)-', ");go()//.
local LEFT_CALL = "^.%s*[)}%]]*%s*[;,]?[-+*/%%^&|<>=?:;,]+%s?[!~+(-]*[%a_$][%w_$.]*[(`]"
local QUOTES = { "'", '"', "`" }
local function left_string(text)
  for _, quote in ipairs(QUOTES) do
    local found = find(text, quote, 1, true) and around(text, quote, 0, function(rest)
      if not find(rest, LEFT_CALL) then return nil end
      local is_closed = find(rest, "[-+*/%^&|;,<>=]%s*[%[({]*['\"`][%s%w]*$") or find(rest, "//[%s%w'\"]*$")
        or find(rest, "<!%-%-") or find(rest, "^['\"`][-+*/^;]%a+[(`]%s*['\"%d`)]")
      return is_closed and sub(rest, 1, EXCERPT_BYTES)
    end)
    if found then return found end
  end
  return nil
end

local function judge_shape(text, trigger, shapes, visit)
  local seen = {}
  around(text, trigger, 12, function(window)
    for index, shape in ipairs(shapes) do
      local from = not seen[index] and find(window, shape[1])
      if from then
        seen[index] = true
        visit(shape[2], sub(window, from, from + EXCERPT_BYTES))
      end
    end
  end)
end

-- Calls visit(rule, matched) for each rule that finds its shape.
function script.each_shape(text, visit)
  text = without_comments(text)
  for _, shape in ipairs(SHAPES) do
    if find(text, shape[1], 1, true) then judge_shape(text, shape[1], shape[2], visit) end
  end
  local computed = computed_call(text)
  if computed then visit("computed", computed) end
  local bare = punctuation_code(text)
  if bare then visit("punctuation", bare) end
  local left = left_string(text)
  if left then visit("left", left) end
end

-- The first address with a scheme of script in the middle of a text that passes something to it.
function script.embedded_url(text)
  for _, scheme in ipairs({ "javascript", "vbscript" }) do
    local found = around(text, scheme, 2, function(window)
      local url = match(window, "^%w?[='\"(,:%s]%s?(%a+script%s*:[^'\"]*)")
      return url and script.is_code_url(url) and find(url, "[(`=]") and sub(url, 1, EXCERPT_BYTES)
    end)
    if found then return found end
  end
  return nil
end

return script
