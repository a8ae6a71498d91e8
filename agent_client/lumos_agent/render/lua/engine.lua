-- Request -> values -> findings -> verdict. Pure: no HAProxy in here.
local collect = require("collect")
local findings = require("findings")
local known = require("known")
local policy = require("policy")
local values = require("values")

local engine = {}

local find = string.find

local CLASSES = {}
for _, name in ipairs({
  "protocol", "sqli", "traversal", "xss", "shell", "php", "java", "template", "interpreter", "query", "remote", "upload",
  "header", "scanner", "probe", "xxe",
}) do
  CLASSES[#CLASSES + 1] = (require("rules." .. name))
end
engine.classes = CLASSES

-- The classes that object to letters, digits, blanks, "_" and "-" alone.
local WORD_CLASSES = {}
for _, class in ipairs(CLASSES) do
  if class.words then WORD_CLASSES[#WORD_CLASSES + 1] = class end
end

-- Here words alone say something: programs' names.
local FIXED_PLACES = { header = true, filename = true }

-- Texts are judged up to a length that shrinks as a request uses its share: {bytes judged before, longest text}. However
-- short it is, a value costs as much as some bytes. What is left when all is used is judged as one text; so where there
-- are many values, those with the characters of code come first.
local SHARES = { { 5 * 1024, 128 }, { 2 * 1024, 512 }, { 0, 4 * 1024 } }
local ALL_BYTES = 8 * 1024
local VALUE_BYTES, PLAIN_BYTES = 80, 24
local REST_BYTES = 2048
local MANY_VALUES = 48
local CODE = "['\"<>();|`$\\{]"

local function longest_after(spent)
  for _, share in ipairs(SHARES) do
    if spent >= share[1] then return share[2] end
  end
end

-- Stands among an event's rules when more of the body followed than was read.
local CUT = "body-cut"

local function is_plain(value)
  local text, name = value.text, value.name
  return not FIXED_PLACES[value.place] and not find(text, "[^%w _-]") and not find(text, "__", 1, true) and not find(text, "php_", 1, true)
    and not find(name, "[^%w_.-]") and not find(name, "__", 1, true)
end

-- Returns what that costs, in bytes.
local function judge_value(value, found, groups)
  local is_document = value.place == "document"
  local classes = not is_document and is_plain(value) and WORD_CLASSES or CLASSES
  for index = 1, #classes do
    local class = classes[index]
    if groups[class.group] ~= "off" and (not is_document or class.documents) and (not class.gate or class.gate(value)) then
      class.judge(value, function(rule, matched) found:add(class.group, rule, value, matched) end)
    end
  end
  return #value.text + (classes == CLASSES and VALUE_BYTES or PLAIN_BYTES)
end

local function judge_whole(value, found, groups)
  local before = #found.list
  local cost = judge_value(value, found, groups)
  local inner = values.unwrapped(value)
  if inner then cost = cost + judge_value(inner, found, groups) end
  if #found.list == before and not next(groups) then known.note_clean(value) end
  return cost
end

local function in_order(list)
  if #list <= MANY_VALUES then return list end
  local first, last = {}, {}
  for _, value in ipairs(list) do
    local to = (value.place == "path" or find(value.text, CODE)) and first or last
    to[#to + 1] = value
  end
  return table.move(last, 1, #last, #first + 1, first)
end

-- The values from `first` on as one text, its decisive parts alone.
local function judge_rest(list, first, found, groups)
  local texts = {}
  for index = first, #list do texts[#texts + 1] = list[index].cased end
  local joined = table.concat(texts, "\n")
  local value = values.made("body", "", joined, joined, 0)
  value:shorten(REST_BYTES)
  judge_value(value, found, groups)
end

local function all_findings(request, groups)
  local found, spent, seen = findings.new(), 0, {}
  local list = in_order(collect.values(request))
  for index, value in ipairs(list) do
    local key = value:key()
    if not seen[key] then
      seen[key] = true
      if spent >= ALL_BYTES then
        judge_rest(list, index, found, groups)
        break
      end
      value:shorten(longest_after(spent))
      spent = spent + judge_whole(value, found, groups)
    end
  end
  return found
end

-- Groups that only detect may lift the score over the threshold, but they do not block.
local function decided(found, wanted, admits)
  local total = found:total(admits)
  if total.score < wanted.threshold then return nil end
  local blocking = found:total(function(finding) return admits(finding, true) end)
  return blocking.score >= wanted.threshold and "block" or "detect", total
end

-- `request`: {method, path, query, headers = {{name, value}, …}, body, is_cut}; `wanted`: what policy.parse returned.
-- Returns nil for a clean request, else {action, score, rules = {ids}, findings, matched, place}.
function engine.judge(request, wanted)
  local found = all_findings(request, wanted.groups)
  if found:is_empty() then return nil end
  local action, total = decided(found, wanted, policy.filter(wanted, request.path or "/"))
  if not action then return nil end
  if request.is_cut then total.ids[#total.ids + 1] = CUT end
  return {
    action = action, score = total.score, rules = total.ids, findings = total.findings,
    matched = findings.excerpt(total.finding), place = findings.place(total.finding),
  }
end

return engine
