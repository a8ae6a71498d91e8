-- Writes what the engine knows, for people: "threshold level score", "group name about" and "rule group id score why", one a
-- line, fields between tabs.
local engine = require("engine")
local policy = require("policy")

for level, score in pairs(policy.thresholds) do print("threshold", level, score) end
for _, class in ipairs(engine.classes) do
  print("group", class.group, class.about)
  for _, rule in pairs(class.rules) do print("rule", class.group, rule.id, rule.score, rule.why) end
end
