-- What rules found in one request, and what it adds up to.
local findings = {}

local MATCHED_BYTES = 128
-- Below this score a rule is a hint: it counts only beside another finding in the same value.
local HINT_BELOW = 3

local Findings = {}
Findings.__index = Findings

function findings.new()
  return setmetatable({ list = {}, of_value = {}, value = nil }, Findings)
end

function Findings:add(group, rule, value, matched)
  local list = self.list
  list[#list + 1] = { group = group, rule = rule, value = value, matched = matched }
  local rules = self.of_value[value]
  if not rules then
    self.of_value[value] = { rule.id, count = 1 }
  elseif rules[1] ~= rule.id then
    rules.count = rules.count + 1
  end
end

function Findings:is_empty()
  return #self.list == 0
end

function Findings:counts(finding)
  return finding.rule.score >= HINT_BELOW or self.of_value[finding.value].count > 1
end

-- Adds up each rule once, over findings for which `admits(finding)`. Returns {score, ids, findings, finding}, the last being the
-- strongest one.
function Findings:total(admits)
  local score, seen, ids, counted, strongest = 0, {}, {}, {}, nil
  for _, finding in ipairs(self.list) do
    local rule = finding.rule
    if not seen[rule.id] and self:counts(finding) and admits(finding) then
      seen[rule.id] = true
      score = score + rule.score
      ids[#ids + 1], counted[#counted + 1] = rule.id, finding
      if not strongest or rule.score > strongest.rule.score then strongest = finding end
    end
  end
  return { score = score, ids = ids, findings = counted, finding = strongest }
end

-- The decisive part of what was found: what the rule named, else the value's beginning.
function findings.excerpt(finding)
  return string.sub(finding.matched or finding.value.text, 1, MATCHED_BYTES)
end

-- "place:name" of the value, for people who want to exclude it.
function findings.place(finding)
  local value = finding.value
  return value.name ~= "" and value.place .. ":" .. value.name or value.place
end

return findings
