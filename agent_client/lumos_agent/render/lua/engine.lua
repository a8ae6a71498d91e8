-- Request -> values -> findings -> verdict. Pure: no HAProxy in here.
local collect = require("collect")
local findings = require("findings")
local values = require("values")

local engine = {}

local CLASSES = {
  require("rules.sqli"),
  require("rules.traversal"),
  require("rules.xss"),
  require("rules.shell"),
  require("rules.php"),
  require("rules.java"),
  require("rules.template"),
  require("rules.interpreter"),
  require("rules.query"),
  require("rules.remote"),
  require("rules.upload"),
  require("rules.header"),
  require("rules.scanner"),
  require("rules.probe"),
  require("rules.xxe"),
}

-- Score at which a policy's level objects.
local THRESHOLDS = { low = 8, medium = 5, high = 3 }

local function judge_value(value, found)
  for _, class in ipairs(CLASSES) do
    if (value.place ~= "document" or class.documents) and (not class.gate or class.gate(value)) then
      class.judge(value, function(rule, matched) found:add(class.group, rule, value, matched) end)
    end
  end
end

local function all_findings(request)
  local found = findings.new()
  for _, value in ipairs(collect.values(request)) do
    judge_value(value, found)
    local inner = values.unwrapped(value)
    if inner then judge_value(inner, found) end
  end
  return found
end

local function always()
  return true
end

-- Returns nil for a clean request, else {action, score, rules = "id,id", matched, place}.
function engine.judge(request, policy)
  local found = all_findings(request)
  if found:is_empty() then return nil end
  local total = found:total(always)
  if total.score < (THRESHOLDS[policy.level] or THRESHOLDS.medium) then return nil end
  return {
    action = policy.mode, score = total.score, rules = table.concat(total.ids, ","),
    matched = findings.excerpt(total.finding), place = findings.place(total.finding),
  }
end

return engine
