-- Binds a customer's script to a pipe: its rewritten text and one request from standard input, what it does to standard
-- output. Fields go "length\nbytes" both ways.
local dict = require("script.dict")
local run = require("script.run")

local function field()
  local length = io.read("n")
  if not length then return nil end
  io.read(1)
  return length == 0 and "" or io.read(length)
end

local function answer(...)
  for _, text in ipairs({ ... }) do io.write(#text, "\n", text) end
end

local program, problem = run.load(field())
local address = field()
if not address then return answer("failure", problem or "") end
local request = {
  address = address, country = field(), scheme = field(), method = field(), path = field(), query = field(), body = field(),
  headers = {}, port = "49152", server_address = "192.0.2.1", version = "1.1", id = "trial", time = os.time(),
}
request.server_port = request.scheme == "https" and "443" or "80"
if request.country == "" then request.country = nil end
for name in field do request.headers[#request.headers + 1] = { name, field() } end

local host = { keeps = true, now = os.clock, dict = function(...) return dict.work(os.time(), "trial", ...) end }
local at = program and run.run(program, request, host, {}) or { failure = problem, kind = "pass", headers = {}, body = {}, changes = {}, logs = {} }

answer("failure", at.failure or "", "kind", at.kind, "status", tostring(at.status or ""), "steps", tostring(at.steps or 0))
answer("body", table.concat(at.body))
for _, header in pairs(at.headers) do answer("header", header.name .. ": " .. table.concat(header.values, ", ")) end
for _, one in ipairs(at.changes) do
  answer("change", one[1] .. " " .. one[2] .. (type(one[3]) == "table" and ": " .. table.concat(one[3], ", ") or ""))
end
for _, one in ipairs(at.logs) do answer("log", "[" .. one.level .. "] " .. one.text) end
