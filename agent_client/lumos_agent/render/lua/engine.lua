-- Request -> values -> findings -> verdict. Pure: no HAProxy in here.
local collect = require("collect")
local findings = require("findings")
local known = require("known")
local policy = require("policy")
local values = require("values")

local engine = {}

local CLASSES = {
  require("rules.protocol"),
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

-- Texts are judged up to this length, and up to the shorter one when a request has used its share.
local LONG_BYTES, SHORT_BYTES = 16 * 1024, 1024
local SPENT_BYTES = 32 * 1024

-- Stands among an event's rules when more of the body followed than was read.
local CUT = "body-cut"

local function judge_value(value, found, groups)
  for _, class in ipairs(CLASSES) do
    local is_wanted = groups[class.group] ~= "off" and (value.place ~= "document" or class.documents)
    if is_wanted and (not class.gate or class.gate(value)) then
      class.judge(value, function(rule, matched) found:add(class.group, rule, value, matched) end)
    end
  end
end

local function all_findings(request, groups)
  local found, spent = findings.new(), 0
  for _, value in ipairs(collect.values(request)) do
    local before = #found.list
    value:shorten(spent < SPENT_BYTES and LONG_BYTES or SHORT_BYTES)
    spent = spent + #value.text
    judge_value(value, found, groups)
    local inner = values.unwrapped(value)
    if inner then judge_value(inner, found, groups) end
    if #found.list == before and not next(groups) then known.note_clean(value) end
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
