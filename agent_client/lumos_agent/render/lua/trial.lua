-- Binds the engine to a pipe: judges one request from standard input. Fields go "length\nbytes" both ways.
local engine = require("engine")
local policy = require("policy")

local function field()
  local length = io.read("n")
  if not length then return nil end
  io.read(1)
  return length == 0 and "" or io.read(length)
end

local function answer(...)
  for _, text in ipairs({ ... }) do io.write(#text, "\n", text) end
end

local wanted = policy.parse(field())
local request = { method = field(), path = field(), query = field(), body = field(), headers = {} }
for name in field do request.headers[#request.headers + 1] = { name, field() } end

local verdict = wanted and engine.judge(request, wanted)
if verdict then
  answer(verdict.action, tostring(verdict.score))
  for _, finding in ipairs(verdict.findings) do
    local rule, value = finding.rule, finding.value
    answer(rule.id, finding.group, tostring(rule.score), rule.why or "", value.place, value.name, finding.matched or value.text)
  end
end
