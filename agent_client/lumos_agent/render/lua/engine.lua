-- Request -> values -> findings -> score -> verdict. Pure: no HAProxy in here.
local decode = require("decode")
local params = require("params")
local sqli = require("rules.sqli")
local traversal = require("rules.traversal")

local engine = {}

-- Score at which a policy's level objects.
local THRESHOLDS = { low = 8, medium = 5, high = 3 }
local MATCHED_BYTES = 128
local VALUES_MAX = 256

local function add(findings, found, value)
  for _, rule in ipairs(found) do
    findings[#findings + 1] = { rule = rule, value = value }
  end
end

local function judge_path(path, findings)
  local text, rounds = decode.path(path)
  add(findings, traversal.path(path, text, rounds), text)
  for segment in string.gmatch(text, "[^/]+") do
    add(findings, sqli.value(segment), segment)
  end
end

local function judge_query(query, findings)
  for index, raw in ipairs(params.split(query)) do
    if index > VALUES_MAX then break end
    local text = decode.value(raw)
    add(findings, sqli.value(text), text)
    add(findings, traversal.value(text), text)
  end
end

-- Returns nil for a clean request, else {score, rules = "id,id", matched}. Each rule counts once.
function engine.judge(request, level)
  local findings = {}
  judge_path(request.path or "", findings)
  if request.query and request.query ~= "" then judge_query(request.query, findings) end
  local score, seen, ids, matched = 0, {}, {}, ""
  local strongest = 0
  for _, finding in ipairs(findings) do
    local rule = finding.rule
    if not seen[rule.id] then
      seen[rule.id] = true
      score = score + rule.score
      ids[#ids + 1] = rule.id
    end
    if rule.score > strongest then
      strongest, matched = rule.score, finding.value
    end
  end
  if score < (THRESHOLDS[level] or THRESHOLDS.medium) then return nil end
  return { score = score, rules = table.concat(ids, ","), matched = string.sub(matched, 1, MATCHED_BYTES) }
end

return engine
