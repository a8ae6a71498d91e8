-- Attacks on Java programs: lookups of Log4j, expression languages, class loaders, serialized objects.
local java_names = require("rules.java_names")

local find, sub, match, gsub, gmatch = string.find, string.sub, string.match, string.gsub, string.gmatch

local MATCHED_BYTES = 128

local RULES = {
  lookup = { id = "java-jndi", score = 10,
    why = "A Log4j lookup ${jndi:…} asks the server to load a class from elsewhere." },
  nested = { id = "java-lookup", score = 8,
    why = "Nested lookups ${${lower:…}} hide a word, as only Log4j attacks do." },
  expression = { id = "java-expression", score = 9,
    why = "An expression language reaches the Java runtime (SpEL T(…), OGNL #context, %{…})." },
  runtime = { id = "java-runtime", score = 9, why = "Starts a program through Runtime.exec or ProcessBuilder." },
  loader = { id = "java-class-loader", score = 9,
    why = "A parameter's name reaches the class loader (class.module.classLoader)." },
  serialized = { id = "java-serialized", score = 9, why = "A serialized Java object." },
  gadget = { id = "java-gadget", score = 7, why = "Names a class that is known to run code when it is deserialized." },
  hidden = { id = "java-hidden-gadget", score = 6, why = "The name of such a class in Base64." },
  class = { id = "java-class", score = 5,
    why = "The value or the parameter's name is the full name of a class of Java's library." },
  bean = { id = "java-bean", score = 8,
    why = "XML or JSON that makes a deserializer build Java objects that run code." },
}

local GADGETS, hidden_at = java_names.gadgets, java_names.hidden_at

local PACKAGES = { "java.lang.", "java.io.", "java.util.", "java.net.", "javax.", "org.apache.", "org.omg.",
  "com.sun.", "com.bea.", "sun.misc.", "com.opensymphony.", "java.beans.", "groovy.lang.", "java.rmi.", "java.security.", "freemarker.template.", "ognl." }

-- Fields that frameworks put into their own forms.
local FORM_FIELDS = { "javax.faces.", "org.apache.struts.taglib.", "org.apache.myfaces." }

local function has(text, mark)
  return find(text, mark, 1, true) ~= nil
end

local function snippet(text, at)
  return sub(text, at, at + MATCHED_BYTES - 1)
end

-- Resolves ${lower:x}, ${upper:x}, ${::-x}, ${env:Y:-x} from the inside out.
local function resolve(text)
  local hidden = 0
  for _ = 1, 12 do
    local changed = 0
    text, changed = gsub(text, "%${([^${}]*)}", function(body)
      local plain = match(body, "^lower:(.*)$") or match(body, "^upper:(.*)$") or match(body, "^.-:%-(.*)$")
      return plain
    end)
    if changed == 0 then break end
    local again = gsub(text, "%${[^${}]*}", "")
    hidden = hidden + changed
    if again == text then break end
  end
  return text, hidden
end

local LOOKUPS_MAX, LOOKUP_BYTES = 400, 512

local function judge_lookup_at(text, at, report)
  local piece = sub(text, at, at + LOOKUP_BYTES - 1)
  local plain = resolve(gsub(piece, "\\u00(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
  if find(plain, "jndi%s*:") or find(plain, "${jndi", 1, true) then
    report(RULES.lookup, snippet(text, at))
    return true
  end
  if find(piece, "${${", 1, true) or find(piece, "${lower:", 1, true) or find(piece, "${upper:", 1, true)
    or find(piece, "${::-", 1, true) or find(piece, "${[%w:_.-]-${[%w_.-]*:") or find(piece, "^%${[^{}]*:%-[^{}]*}[^{}]*%${")
    or find(piece, "%${%a+:[%w_.]*:%-")
    or at == 1 and (find(piece, "^%${env:[%w_]+}") or find(piece, "^%${sys:[%w_.]+}")) then
    report(RULES.nested, snippet(text, at))
    return true
  end
end

local function judge_lookup(value, report)
  local text = value.text
  local at = has(text, "jndi:") and find(text, "jndi:%s*%a+:/")
  if at then return report(RULES.lookup, snippet(text, math.max(at - 8, 1))) end
  at = find(text, "${", 1, true)
  if not at then return end
  if not find(text, ":", at, true) and not find(text, "jndi", 1, true) then return end
  for _ = 1, LOOKUPS_MAX do
    if judge_lookup_at(text, at, report) then return end
    at = find(text, "${", at + LOOKUP_BYTES // 2, true)
    if not at then return end
  end
end

local RUNTIME = { "getruntime", "java.lang.runtime", "java.lang.processbuilder", "processbuilder(",
  "javax.script.scriptenginemanager", "new java.io.", "javax.naming.initialcontext", ".getclass()", ".forname(", "java.lang.class", "defineclass",
  "java.lang.system" }

local EXPRESSIONS = { "#context", "#_memberaccess", "@java.lang", "#request.", "#parameters.", "ognlcontext",
  "#application", "#session[", "@org.apache", "allowstaticmethodaccess", "xwork.methodaccessor", "#attr[", "%{(#", "${(#" }

local function judge_expression(value, report)
  local text = value.text
  local at = has(text, "t(") and find(text, "%f[%w]t%(%s*%l+%.%l[%w.]*%s*%)%s*[.(]")
  if at then return report(RULES.expression, snippet(text, at)) end
  for _, mark in ipairs(EXPRESSIONS) do
    at = find(text, mark, 1, true)
    if at then return report(RULES.expression, snippet(text, at)) end
  end
  at = has(text, "'") and find(text, "'%s*+%s*{%d+%s*%*%s*%d+}") or has(text, "#")
    and find(text, "[%%$]{%s*%(?#%w+%s*[=.]")
    or has(text, "new ") and find(text, "%f[%w]new%s+%l+%.%l[%w.]*%s*%(") and find(text, "[%%$#]{")
    or find(text, "%f[%w]%l+%.%l+%.[%w.]+%(%s*['\"]%l+://")
    or has(text, ".class.") and #text <= 1024 and find(text, "[%%$#]{[^}]-%.class%.%a")
  if at then report(RULES.expression, snippet(text, at)) end
end

local function judge_runtime(value, report)
  local text = value.text
  local hits = 0
  local first
  for _, mark in ipairs(RUNTIME) do
    local at = find(text, mark, 1, true)
    if at then hits, first = hits + 1, first or at end
  end
  if hits == 0 then return end
  if find(text, "%.exec%s*%(", first) or find(text, "%.start%s*%(", first) or find(text, "%.eval%s*%(", first)
    or hits >= 2 or find(text, "getruntime%s*%(") or find(text, "^.?forname%s*%(%s*[\"']", first) then
    return report(RULES.runtime, snippet(text, first))
  end
end

-- The name of a class alone: value, name of a parameter, attribute, or name=value text.
local function is_class_name(text)
  if #text > 128 or not find(text, ".", 1, true) then return false end
  for _, prefix in ipairs(FORM_FIELDS) do
    if sub(text, 1, #prefix) == prefix then return false end
  end
  for _, package in ipairs(PACKAGES) do
    if sub(text, 1, #package) == package or text .. "." == package then return find(text, "^[%a][%w_.$]*$") ~= nil end
  end
  return false
end

local function judge_names(value, report)
  local text, name = value.text, value.name
  if is_class_name(text) or is_class_name(match(text, "^[%w_%-]+=([%w_.$]+)$") or "") then
    report(RULES.class, text)
  elseif is_class_name(name) then
    report(RULES.class, name)
  end
  local target = value.place == "name" and text or name
  if find(target, "class.module", 1, true) or find(target, "class.classloader", 1, true)
    or find(target, "^class%[?['\"]?%.?module")
    or find(text, "class.module.classloader", 1, true) or find(text, "class['classloader']", 1, true) then
    report(RULES.loader, snippet(target ~= "" and target or text, 1))
  end
end

local function is_gadget(text, word)
  if word == "processbuilder" then return find(text, ".", 1, true) and #text < 200 end
  return word ~= "lazymap" or find(text, "collections", 1, true)
end

-- The name of a gadget that is a word of the value or of its name.
local function gadget_of(value)
  local set = value:words()
  for word in pairs(GADGETS) do
    if set[word] and is_gadget(value.text, word) then return word end
  end
  if #value.name < 7 then return nil end
  for word in gmatch(value.name, "%a+") do
    if GADGETS[word] and is_gadget(value.name, word) then return word end
  end
end

local function is_runtime(text)
  if #text >= 80 or not find(text, "runtime", 1, true) then return false end
  return find(text, "^runtime%.%a") and find(text, "exec", 1, true) or find(text, "^java%.[%a.]*%.?runtime$")
end

local function judge_gadgets(value, report)
  local gadget = gadget_of(value)
  if gadget then return report(RULES.gadget, gadget) end
  if is_runtime(value.text) or is_runtime(value.name) then return report(RULES.gadget, snippet(value.text, 1)) end
  if hidden_at(value.cased, true) then return report(RULES.hidden, snippet(value.text, 1)) end
  if #value.name >= 9 and hidden_at(value.name, false) then return report(RULES.hidden, snippet(value.name, 1)) end
end

local BEANS = { "<java.util.", "<void class=", "<object class=\"java", "<java version=", "java.beans.xmldecoder",
  "<sorted-set>", "serialization='custom'", "serialization=\"custom\"", "<void method=", "\"@type\":", "!!javax.script",
  "java.beans.eventhandler" }

local function judge_data(value, report)
  local cased, text, name = value.cased, value.text, value.name
  if find(name, "^ro0abq") or find(name, "^.?.?kztaau") or find(name, "^.?.?cs7qaf") then
    return report(RULES.serialized, snippet(name, 1))
  end
  local at = find(cased, "rO0AB", 1, true) or find(cased, "^.?.?KztAAU") or find(cased, "^.?.?Cs7QAF")
  if at and (at == 1 or find(cased, "^[^%w+/]", at - 1)) then return report(RULES.serialized, snippet(cased, at)) end
  at = find(text, "\xAC\xED\0\5", 1, true) or find(text, "aced0005", 1, true) == 1 and 1
  if at then return report(RULES.serialized, snippet(text, at)) end
  if value.name == "@type" and find(text, "^[%l]+%.[%w_.$]+%.[%w_$]+$") then
    return report(RULES.bean, snippet(text, 1))
  end
  if not find(text, "<", 1, true) and not find(text, "@type", 1, true) and not find(text, "!!", 1, true) then return end
  local hits, first = 0, nil
  for _, mark in ipairs(BEANS) do
    at = find(text, mark, 1, true)
    if at then hits, first = hits + 1, first or at end
  end
  if hits >= 2 or hits == 1 and (find(text, "processbuilder", 1, true)
    or find(text, "^\"@type\":%s*\"%l+%.%l+%.", first) or find(text, "^<java%.util%.", first)) then
    report(RULES.bean, snippet(text, first))
  end
end

local function judge(value, report)
  local text = value.text
  judge_lookup(value, report)
  if has(text, "(") or has(text, "{") or has(text, "#") or has(text, "@") then judge_expression(value, report) end
  if find(text, ".", 1, true) or find(text, "processbuilder", 1, true) then judge_runtime(value, report) end
  judge_names(value, report)
  judge_gadgets(value, report)
  judge_data(value, report)
end

local function gate(value)
  local text = value.text
  if #text > 512 then return true end
  if #text <= 64 and (find(value.cased, "^rO0AB") or find(value.cased, "^.?.?[KC][zs][t7][AQ]A[UF]"))
    then return true end
  if find(value.name, "^ro0abq") or find(value.name, "kztaau", 1, true) or find(value.name, "cs7qaf", 1, true)
    then return true end
  if #value.name >= 9 and find(value.name, "%w%w%w%w%w%w%w%w%w") or find(value.name, ".", 1, true) then return true end
  if value.place == "segment" and not find(text, "[${]") then return false end
  return find(text, "%w%w%w%w%w%w%w%w%w") ~= nil or find(text, "[%${(\xAC]") ~= nil
    or find(text, "java", 1, true) ~= nil or find(text, "org.", 1, true) ~= nil
end

return {
  group = "java", rules = RULES, gate = gate, judge = judge, words = true,
  about = "Log4j look-ups, Java expression languages, class loaders and serialized objects.",
}
