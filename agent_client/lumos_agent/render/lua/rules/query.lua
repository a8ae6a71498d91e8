-- Queries that are not SQL: MongoDB operators, LDAP filters, XPath expressions.
local find, sub, match = string.find, string.sub, string.match

local MATCHED_BYTES = 128

local RULES = {
  operator = { id = "nosql-operator", score = 7,
    why = "A form parameter's name carries a MongoDB operator: name[$ne]." },
  key = { id = "nosql-key", score = 4, why = "A JSON key is a MongoDB operator." },
  text = { id = "nosql-text", score = 6, why = "A text holds a MongoDB operator as a key." },
  code = { id = "nosql-code", score = 8, why = "A MongoDB operator that runs JavaScript: $where, $function." },
  filter = { id = "ldap-filter", score = 7, why = "Closes one LDAP filter and opens another." },
  open = { id = "ldap-open", score = 6, why = "The value is an LDAP filter, or ends in the middle of one." },
  rule = { id = "ldap-rule", score = 7, why = "An LDAP comparison with a numbered matching rule." },
  xpath = { id = "xpath-function", score = 7,
    why = "An XPath function on nodes stands in a comparison behind a quote." },
  axis = { id = "xpath-axis", score = 6, why = "An XPath axis or predicate leads to other nodes." },
}

local OPERATORS = { ne = 1, gt = 1, gte = 1, lt = 1, lte = 1, regex = 1, exists = 1, nin = 1, eq = 1, ["or"] = 1,
  ["and"] = 1, ["not"] = 1,
  nor = 1, expr = 1, mod = 1, elemmatch = 1, all = 1, ["in"] = 1, size = 1, type = 1, options = 1, where = 2,
    ["function"] = 2, accumulator = 2 }

local function snippet(text, at)
  return sub(text, at, at + MATCHED_BYTES - 1)
end

local function judge_name(value, report)
  local name = value.place == "name" and value.text or value.name
  local bracket = match(name, "%[['\"]?%$(%l+)['\"]?%]")
  if bracket and OPERATORS[bracket] then return report(RULES.operator, snippet(name, 1)) end
  local key = match(name, "^%$(%l+)$") or match(name, "%.%$(%l+)$")
  if not key or not OPERATORS[key] then return end
  report(OPERATORS[key] == 2 and RULES.code or RULES.key, snippet(name, 1))
end

local function judge_text(value, report)
  local text, at = value.text, 1
  for _ = 1, 16 do
    local first, stop, quote, operator = find(text, "(['\"]?)%$(%l+)['\"]?%s*:%s*[%w'\"{%[%-]", at)
    if not first then break end
    if OPERATORS[operator] == 2 then return report(RULES.code, snippet(text, first)) end
    if OPERATORS[operator] and (quote ~= "" and find(text, "{", 1, true) or find(text, "^%s*['\",]", 1)) then
      return report(RULES.text, snippet(text, first))
    end
    at = stop + 1
  end
  local bracket = match(text, "^%w*%[%$(%l+)%]=?")
  if bracket and OPERATORS[bracket] then report(RULES.operator, snippet(text, 1)) end
end

local function judge_ldap(value, report)
  local text = value.text
  if find(text, "function", 1, true) or #text > 2000 then return end
  local at = find(text, "%)%s*%([|&!(%s]*%a[%w%-]*[~<>:]?=[^=]")
  if at and not find(text, "[{;]") then return report(RULES.filter, snippet(text, math.max(1, at - 16))) end
  at = find(text, "%)%s*%([|&]%s*%)?%s*$") or find(text, "%*%)%s*%([|&!(]") or find(text, "%)%s*%([|&]%s*%(")
    or find(text, "%*%s*%([|&]%s*%(")
    or find(text, "^%s*%([&|!]%s*%(%s*%a[%w%-]*[~<>]?=") or find(text, "%(objectclass=") or find(text, "%*%(%)[|&]")
    or find(text, "%)%(+[|&]%(?%a+=") or find(text, "%w%)[|&!]%(%a+=") or find(text, "%*%)!%(%a+=")
    or find(text, "%)%([|&]%)")
  if at then report(RULES.open, snippet(text, at)) end
end

local function judge_xpath(value, report)
  local text = value.text
  local at = find(text, "['\"%d%)]%s*or%s+name%(%)%s*=") or find(text, "count%s*%(%s*/[/%*%w]")
    or find(text, "string%-length%s*%(%s*[%w:]*[/(]")
    or find(text, "substring%s*%(%s*name%s*%(") or find(text, "['\"]%s*[|]?%s*or%s+position%(%)%s*=")
    or find(text, "name%(/?/?%*?[^)]*%)%s*=%s*['\"]")
    or find(text, "contains%s*%(%s*name%s*%(%)") or find(text, "doc%s*%(%s*concat%s*%(")
    or find(text, "['\"]%s*%]%s*|%s*//?[%a*]")
  if at then return report(RULES.xpath, snippet(text, at)) end
  at = find(text, "%f[%w]ancestor%-?%l*::[%w*]") or find(text, "%f[%w]child::[%w*]")
    or find(text, "%f[%w]descendant%-?%l*::[%w*]")
    or find(text, "%f[%w]following%-sibling::[%w*]") or find(text, "|%s*//%*")
    or find(text, "//%a+%[%s*%a+/text%(%)") or find(text, "%]%s*|%s*//%a+%[")
  if at then report(RULES.axis, snippet(text, at)) end
end

local function judge(value, report)
  local text = value.text
  if find(value.name, "$", 1, true) or value.place == "name" then judge_name(value, report) end
  if find(text, "$", 1, true) and find(text, "[:%[]") then judge_text(value, report) end
  if find(text, ")(", 1, true) or find(text, "%*%(") or find(text, "%)[|&!]%(") or find(text, "[)*]%s*%(")
    or find(text, "^%s*%([&|!]") or find(text, "(objectclass", 1, true) then
    judge_ldap(value, report)
  end
  local at = find(text, "%a:[%d%.]*%d%.%d+:=") or find(text, "^%a+:dn:=")
  if at then report(RULES.rule, snippet(text, at)) end
  if #text <= 1000 and (find(text, "::", 1, true) or find(text, "name(", 1, true) or find(text, "count", 1, true)
    or find(text, "position()", 1, true)
    or find(text, "string-length", 1, true) or find(text, "|", 1, true) and find(text, "//", 1, true)
    or find(text, "/text()", 1, true)
    or find(text, "doc", 1, true)) then
    judge_xpath(value, report)
  end
end

local function gate(value)
  local text = value.text
  return find(text, "[$()%[]") ~= nil or find(text, ":[=:]") ~= nil or find(value.name, "$", 1, true) ~= nil
end

return {
  group = "query", rules = RULES, gate = gate, judge = judge,
  about = "Queries that are not SQL: MongoDB, LDAP and XPath.",
}
