-- Server-side template injection: template brackets that hold an expression, not a placeholder's name.
local find, sub, match = string.find, string.sub, string.match

local MATCHED_BYTES = 128
-- How many openings are looked at, and how many of them hold more than a plain name.
local OPENINGS_MAX, EXPRESSIONS_MAX = 1000, 40
local INNER_BYTES = 240

local RULES = {
  arithmetic = { id = "template-arithmetic", score = 8,
    why = "Template brackets with arithmetic on literals, to see whether a server evaluates them." },
  attribute = { id = "template-attribute", score = 9,
    why = "An expression climbs from an object to its class, globals or builtins." },
  call = { id = "template-call", score = 7, why = "Template brackets hold a call with arguments." },
  object = { id = "template-object", score = 6,
    why = "Template brackets read an object of the engine: config, self, request, settings." },
  statement = { id = "template-statement", score = 6,
    why = "A statement of a template language: {% … %}, #set( … ), <#assign … >." },
  tag = { id = "template-tag", score = 6, why = "An ERB or ASP tag <% … %> with code." },
  gadget = { id = "template-gadget", score = 9,
    why = "A class or function that template attacks use to run commands." },
}

local ATTRIBUTES = {
  "__class__", "__mro__", "__subclasses__", "__globals__", "__builtins__", "__import__", "__init__", "__base__",
  "__bases__",
  "__getattribute__", "__getitem__", "__code__", "\\x5f\\x5f", "|attr(", ".mro()", ".subclasses()",
  "_templatereference__context",
  "constructor.constructor", "[\"constructor\"]", "['constructor']", "_nsattr__parent", "_mmarker", "module.cache",
  "module.runtime",
}
local GADGETS = {
  "freemarker.template.utility", "?new()", "registerundefinedfiltercallback", "getfilter(", "_self.env",
  "|filter('system')",
  "|map('system')", "|sort('system')", "|filter(\"system\")", "$class.inspect", "class.type.forname", "lipsum.",
  "cycler.__", "joiner.__",
  "namespace.__", "linecache.os", "inspect.os", "compat.inspect", "util.os.", "runtime.util", "objectconstructor",
  "?api.", "?eval",
  "range.constructor", "getoutputstream", "#set($", "smarty.template", "{php}", "get_user_file(", "from_string",
}
local OBJECTS = {
  config = true, self = true, request = true, settings = true, app = true, _self = true, dump = true, env = true,
    application = true,
  session = true, ["$smarty"] = true, class = true, _context = true, ["this"] = true, get_flashed_messages = true,
    url_for = true,
  process = true, global = true, debug = true,
}

local function has(text, mark)
  return find(text, mark, 1, true) ~= nil
end

local function snippet(text, at)
  return sub(text, at, at + MATCHED_BYTES - 1)
end

-- The kind of expression between template brackets; nil for what an honest placeholder holds.
local function kind(inner, opener)
  if find(inner, "^[%s@]*['\"]?%d+['\"]?%s*[*+/^|%-]%s*['\"]?%d+['\"]?[%s%)\"'}]*$")
    or find(inner, "^%s*%(?%d+%s*%*%s*['\"]?%d+") then
    return RULES.arithmetic
  end
  for _, attribute in ipairs(ATTRIBUTES) do
    if find(inner, attribute, 1, true) then return RULES.attribute end
  end
  if find(inner, "%f[%w]os%s*%.%s*%a+%s*%(") or find(inner, "%f[%w]popen%s*%(") or find(inner, "%f[%w]system%s*%(")
    or find(inner, "%f[%w]exec%s*%(?['\"]") then
    return RULES.gadget
  end
  if opener == "${" or opener == "#{" or opener == "*{" then
    if find(inner, "^%s*[%a_][%w_.]*%s*%(%s*['\"]") and opener ~= "${" or find(inner, "^%s*%a+%.%a+%(['\"]")
      or find(inner, "^%s*file%.") or find(inner, "^%s*dir%.") or find(inner, "^%s*`") then
      return RULES.call
    end
    if find(inner, "^%s*%(?['\"][^'\"]*['\"]%)?%s*[.*+]") then return RULES.call end
    return nil
  end
  local object, after = match(inner, "^%s*([%$%a_][%w_]*)%s*([.%[|(]?)")
  if object and OBJECTS[object] and (after ~= "" and not find(inner, "^%s*%$?[%a]+%.[%a]+%s*$")
    or object ~= "app" and object ~= "env"
    and object ~= "session" and object ~= "class" and object ~= "process" and object ~= "request"
    and object ~= "settings") then
    return RULES.object
  end
  if find(inner, "^%s*%[%]") or find(inner, "^%s*%(%)%s*%.") or find(inner, "^%s*['\"][^'\"]*['\"]%s*[.|*%%~]")
    or find(inner, "^%s*%[[^%]]*%]%s*|") then
    return RULES.call
  end
  if find(inner, "^%s*[%a_][%w_.]*%s*%(%s*['\"][^'\"]*['\"]%s*%)") then return RULES.call end
end

local CLOSERS = { ["{{"] = "}}", ["${"] = "}", ["#{"] = "}", ["*{"] = "}", ["<%"] = "%>", ["{%"] = "%}",
  ["@("] = ")", ["[["] = "]]", ["{$"] = "}",
  ["[="] = "]", ["~{"] = "}", ["{@"] = "}", ["{#"] = "}" }

local function is_code(inner)
  return find(inner, "^=?%s*%d+%s*[*+%-/]%s*%d+%s*$") or find(inner, "^=?%-?%s*[`]")
    or find(inner, "system%s*[%(%['\"]")
    or find(inner, "%f[%w]file%.") or find(inner, "%f[%w]io%.popen") or find(inner, "%f[%w]dir%.")
    or find(inner, "request%.") or find(inner, "response%.")
    or find(inner, "getruntime") or find(inner, "foreach%s*%(") or find(inner, "%f[%w]eval[%s(]")
    or find(inner, "require%s*%(?['\"]")
    or find(inner, "session%.") or find(inner, "%f[%w]exec%s*%(")
end

local function judge_at(text, at, opener, report)
  local from = at + 2
  local inner = sub(text, from, from + INNER_BYTES)
  local stop = find(inner, CLOSERS[opener], 1, true)
  if stop then inner = sub(inner, 1, stop - 1) end
  local rule
  if opener == "<%" then
    rule = is_code(inner) and RULES.tag
  elseif opener == "{%" then
    rule = kind(inner, opener)
    if not rule and stop and find(inner, "^%-?%s*%a+%s+[%w(%['\"]") and (find(inner, "%(")
      or find(inner, "^%-?%s*debug%s") or find(inner, "^%-?%s*include")
      or find(inner, "^%-?%s*import") or find(inner, "^%-?%s*set%s+%w+%s*=")) then
      rule = RULES.statement
    elseif stop and find(inner, "^%s*debug%s*$") then
      rule = RULES.statement
    end
  elseif opener == "@(" then
    rule = find(inner, "^%s*%d+%s*[*+]%s*%d+%s*$") and RULES.arithmetic or find(inner, "^%s*system%.") and RULES.gadget
  elseif opener == "{$" then
    rule = find(inner, "^smarty%.") and RULES.object or find(inner, "^%w+%.%w+|") and RULES.call
  elseif opener == "[[" or opener == "[=" or opener == "~{" or opener == "{@" or opener == "{#" or opener == "*{" then
    rule = stop and find(inner, "^[%s${]*%d+%s*%*%s*%d+[%s}]*$") and RULES.arithmetic
      or find(inner, "^%${[^}]*%(") and RULES.call
  else
    rule = kind(inner, opener)
  end
  if rule then report(rule, snippet(text, at)) end
  return rule
end

-- Whether nothing but an honest name stands there: {{user.name}}.
local function is_placeholder(text, at)
  local name = match(text, "^%s*(%a[%w_.]*)%s*[}%]%%)]", at)
  return name ~= nil and not find(name, "__", 1, true) and not OBJECTS[match(name, "^[%w_]+")]
end

local function judge(value, report)
  local text, at, count = value.text, 1, 0
  for _ = 1, OPENINGS_MAX do
    at = find(text, "[{$#*@<%[~][{%%($=%[@#]", at)
    if not at or count == EXPRESSIONS_MAX then break end
    local opener = sub(text, at, at + 1)
    if CLOSERS[opener] and not is_placeholder(text, at + 2) then
      count = count + 1
      if judge_at(text, at, opener, report) then return end
    end
    at = at + 1
  end
  if (has(text, "#") or has(text, "{{")) and (find(text, "#set%s*%(%s*%$%w+%s*=")
    or find(text, "#foreach%s*%(%s*%$") or find(text, "[<%[]#assign%s+%w+%s*=") or find(text, "<#list%s")
    or find(text, "#include%s*%(") or find(text, "#evaluate%s*%(") or find(text, "{{#with%s")
    or find(text, "<#import%s")) then
    at = find(text, "[#<%[{]", 1)
    report(RULES.statement, snippet(text, at))
  end
  if has(text, "(") or has(text, ".") then
    for _, gadget in ipairs(GADGETS) do
      at = find(text, gadget, 1, true)
      if at then return report(RULES.gadget, snippet(text, at)) end
    end
    for index = 1, 11 do
      at = find(text, ATTRIBUTES[index], 1, true)
      if at and find(text, "^[.%['\"]", at - 1) then return report(RULES.attribute, snippet(text, at)) end
    end
  end
end

local function gate(value)
  local text = value.text
  if #text > 512 then return true end
  return find(text, "[{<%[@][{%%($=%[@#]") ~= nil or find(text, "[#$*~]{", 1) ~= nil or find(text, "__", 1, true) ~= nil
    or find(text, "#%a+%s*%(") ~= nil or find(text, "%a%.%a+%.%a+") ~= nil and find(text, "[?(]") ~= nil
    or find(text, "_self", 1, true) ~= nil
end

return {
  group = "template", rules = RULES, gate = gate, judge = judge,
  about = "Code inside the brackets of template engines.",
}
