-- JavaScript without a tag around it: what breaks out of a string, calls what only an attack calls, or hides a name.
local script = {}

local find, gsub, match, sub = string.find, string.gsub, string.match, string.sub

-- Addresses that scripts put into links to make them do nothing, and browser buttons.
local HARMLESS = { "", ";", ";;", "void(0)", "void(0);", "void0", "void0;", "void(null)", "void(null);", "void()", "void();", "#", "//",
  "false", "false;", "returnfalse", "returnfalse;", "history.back()", "history.back();", "history.go(-1)", "history.go(-1);",
  "window.print()", "window.print();", "null", "undefined", "0" }
local IS_HARMLESS = {}
for _, code in ipairs(HARMLESS) do IS_HARMLESS[code] = true end

local DATA_TYPES = { "^data:text/html", "^data:text/xml", "^data:image/svg", "^data:application/x", "^data:text/javascript",
  "^data:application/javascript", "^data:[;,]", "^data:text/css", "^data:,", "^data:%a+/%a*html" }

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

-- trigger: plain text that must occur; pattern: what must stand there; rule: name of the rule.
local CALL_ARGUMENT = "%s*%(?%s*[%d'\"`/%[{)!+$~-]"
local SHAPES = {
  { "alert", "alert%)?[(`]" .. CALL_ARGUMENT, "sink" }, { "alert", "alert%s?%(+%s*%a+[%.(%[]", "sink" },
  { "confirm", "confirm%)?[(`]" .. CALL_ARGUMENT, "sink" }, { "confirm", "confirm%s?%(+%s*%a+[%.(%[]", "sink" },
  { "prompt", "prompt%)?[(`]" .. CALL_ARGUMENT, "sink" }, { "prompt", "prompt%s?%(+%s*%a+[%.(%[]", "sink" },
  { "alert", "[=(,{;:]%s*alert%s*[;,)}]", "sink" }, { "alert", "alert%.[cab][api][lpn]", "sink" }, { "prompt", "prompt%.[cab][api][lpn]", "sink" },
  { "confirm", "confirm%.[cab][api][lpn]", "sink" },
  { "eval", "%f[%w]eval%)?%s*[(`]", "evaluate" }, { "eval", "%f[%w]eval%.call", "evaluate" }, { "execscript", "execscript%s*%(", "evaluate" },
  { "settimeout", "settimeout%s*[(`]%s*['\"`%[]", "evaluate" }, { "setinterval", "setinterval%s*[(`]%s*['\"`%[]", "evaluate" },
  { "function", "%f[%w]function%s*[(`]%s*['\"`/]", "evaluate" }, { "import", "%f[%w]import%s*%(%s*['\"`/]", "evaluate" },
  { "fromcharcode", "fromcharcode", "hidden" }, { "atob", "%f[%w]atob['\"%]]*%s*[(`]", "hidden" }, { ".source", "/[%.%[]['\"]?source", "hidden" },
  { "\\u{", "\\u{%x+}", "hidden" }, { "unescape", "unescape%s*%(%s*['\"`%%%a]", "hidden" },
  { "tostring", "%d%.?%.tostring%(%d", "hidden" },
  { "constructor", "constructor%s*[(`%[]", "constructor" }, { "constructor", "constructor%.constructor", "constructor" },
  { "constructor", "%[%s*['\"`]constructor", "constructor" }, { "constructor", "constructor%.prototype", "constructor" },
  { "constructor", "[%]'\")}]%.constructor", "constructor" },
  { "document", "document%s*%.%s*cookie", "document" }, { "document", "document%s*%.%s*write", "document" },
  { "document", "document%s*%.%s*domain", "document" }, { "document", "document%s*%.%s*location", "document" },
  { "document", "document%[%s*['\"`]", "document" }, { "document", "document%s*%.%s*createelement%s*%(", "document" },
  { "document", "document%.body%.", "document" }, { "document", "document%.getelement", "document" }, { "document", "with%s*%(+document", "document" },
  { "innerhtml", "innerhtml%s*=", "document" }, { "outerhtml", "outerhtml%s*=", "document" }, { "localstorage", "localstorage[%.%[]", "document" },
  { "location", "location%s*=%s*['\"`]%s*[jh/]", "document" }, { "location", "location%s*=%s*[nalw][atoi][mocn][eabhd]", "document" },
  { "location", "location%.[hra][reas][efps][fhli%(]", "document" }, { "navigation", "navigation%.navigate", "document" },
  { "window", "window%.[noe][apv][mea][enl]", "document" }, { "import", "importscripts%s*%(", "document" },
  { "xmlhttprequest", "new%s+xmlhttprequest", "document" }, { "fetch", "%f[%w]fetch%s*[(`]%s*['\"`]", "document" },
  { "reflect", "%f[%w]reflect%.%a+[%.(`]", "hidden" }, { "throw", "throw%s*['\"%d/`{o]", "throw" },
  { "__proto__", "__proto__%s*[%.%[=]", "constructor" }, { "${", "`%s*%$%{", "hidden" },
}

-- Comments inside code are white space.
local function without_comments(text)
  if not find(text, "/*", 1, true) then return text end
  return (gsub(text, "/%*[^*]*%*/", ""))
end

-- A member of the global object by a computed name, then called: top["al"+"ert"](1).
local GLOBALS = { "window", "self", "top", "parent", "frames", "globalthis", "this", "opener", "document", "content" }
function script.computed_call(text)
  if not find(text, "]", 1, true) then return nil end
  for _, name in ipairs(GLOBALS) do
    local at = find(text, name, 1, true)
    local from, stop = find(text, "%f[%w]" .. name .. "%s*%??%.?%s*%[", at or #text + 1)
    if from and (find(text, "][%s)]*%??%.?[(`]", stop) or find(text, "^%s*['\"`][^'\"`]*['\"`]%s*[+%]]%s*['\"`=]", stop + 1)) then
      return sub(text, from, from + 60)
    end
  end
  return match(text, "%[%]%s*%[['\"(!+][^%]]*%]") or match(text, "%[%]%.%a+%.%a+`?") or match(text, "%[%]%.%a+%(%a+")
end

-- Code without letters: names are spelt with ![], +[] and {}.
function script.punctuation_code(text)
  if not find(text, "[]", 1, true) then return nil end
  local _, count = gsub(sub(text, 1, 2000), "[!+%s%[(]%[%]", "")
  if count >= 4 and find(text, "![]", 1, true) then return sub(text, 1, 60) end
  return nil
end

-- A quote that closes a string, an operator, then a call: '-alert(1)-', ");go()//.
function script.left_string(text)
  local at = find(text, "['\"`]%s*[)}%]]*%s*[;,]?[-+*/%%^&|<>=?:;,]+%s?[!~+(-]*[%a_$][%w_$.]*[(`]")
  if not at then return nil end
  local rest = sub(text, at, at + 200)
  if find(rest, "[-+*/%^&|;,<>=]%s*[%[({]*['\"`][%s%w]*$") or find(rest, "//[%s%w'\"]*$") or find(rest, "<!%-%-") or find(rest, "^['\"`][-+*/^;]%a+[(`]%s*['\"%d`)]") then
    return sub(rest, 1, 60)
  end
  return nil
end

-- Calls visit(rule, matched) for each rule that finds its shape.
function script.each_shape(text, visit)
  text = without_comments(text)
  local seen = {}
  for _, shape in ipairs(SHAPES) do
    local trigger, pattern, rule = shape[1], shape[2], shape[3]
    if not seen[rule] then
      local at = find(text, trigger, 1, true)
      local from = at and find(text, pattern, math.max(1, at - 12))
      if from then
        seen[rule] = true
        visit(rule, sub(text, from, from + 60))
      end
    end
  end
  local computed = script.computed_call(text)
  if computed then visit("computed", computed) end
  local bare = script.punctuation_code(text)
  if bare then visit("punctuation", bare) end
  local left = script.left_string(text)
  if left then visit("left", left) end
end

return script
