-- Binds the engine to HAProxy: "lumos_inspect" reads txn.policy and sets txn.waf_*; "lumos_rules" are the domain's own
-- rules, "lumos_agents" reads the lists of user agents in txn.agents and txn.account_agents, "lumos_script…" is the domain's
-- own Lua; the others are the guard's.
local agents = require("agents")
local conditions = require("conditions")
local engine = require("engine")
local fields = require("fields")
local guard = require("guard")
local hits = require("hits")
local policy = require("policy")
local remote = require("script.remote")
local scripted = require("scripted")

local LOG_SECONDS = 60
local logged_at = 0

-- An error of the engine is not the visitor's fault: the request passes, and the log says so once a minute.
local function report(message)
  local now = core.now().sec
  if now - logged_at >= LOG_SECONDS then
    logged_at = now
    core.Alert("lumos failed: " .. tostring(message))
  end
end

-- HAProxy numbers the values of a header from 0.
local function headers_of(txn)
  local list = {}
  for name, all in pairs(txn.http:req_get_headers()) do
    for index = 0, #all do list[#list + 1] = { name, all[index] } end
  end
  return list
end

-- What the rules read: the body only where it was waited for. `is_cut`: more of it follows.
local function request_of(txn)
  local sf = txn.sf
  local request = { method = sf:method(), path = sf:path(), query = sf:query(), headers = headers_of(txn) }
  if txn:get_var("txn.waf_reads") then
    request.body = sf:req_body()
    request.is_cut = request.body and (tonumber(sf:req_body_size()) or 0) > #request.body
  end
  return request
end

local function decided(txn)
  local request = request_of(txn)
  -- As the maps have them: "country:DE" and "AS64500".
  request.country = string.match(txn:get_var("txn.country") or "", "%a%a$")
  request.asn = string.match(txn:get_var("txn.asn") or "", "%d+$")
  local asked = conditions.request(txn.sf:src(), fields.reader(request))
  return conditions.decide(conditions.parse(txn:get_var("txn.custom_rules")), asked, core.now().sec)
end

local function judged(txn)
  local wanted = policy.parse(txn:get_var("txn.policy") or "")
  return wanted and engine.judge(request_of(txn), wanted)
end

-- Rules that only log stand before those of the engine.
local function add_rules(txn, ids)
  local earlier = txn:get_var("txn.waf_rules")
  txn:set_var("txn.waf_rules", (earlier and earlier .. "," or "") .. table.concat(ids, ","))
end

local function inspect(txn)
  local ok, verdict = pcall(judged, txn)
  if not ok then
    report(verdict)
  elseif verdict then
    txn:set_var("txn.waf_action", verdict.action)
    add_rules(txn, verdict.rules)
    txn:set_var("txn.waf_score", tostring(verdict.score))
    txn:set_var("txn.waf_matched", verdict.matched)
    txn:set_var("txn.waf_place", verdict.place)
  end
end

local function safely(action)
  return function(txn)
    local ok, message = pcall(action, txn)
    if not ok then report(message) end
  end
end

core.register_action("lumos_guard", { "http-req" }, safely(guard.examine))
core.register_action("lumos_settle", { "http-req" }, safely(guard.settle))
core.register_action("lumos_count", { "http-res" }, safely(guard.answered))
-- txn.custom_action tells later checks what a custom rule decided: "allow" skips them, "block" ends the request. What the
-- guard must see to stands in txn.custom_asks, and the rule with the request.
local function apply_rules(txn)
  local ok, rule, logged = pcall(decided, txn)
  if not ok then
    report(rule)
    return
  end
  for _, id in ipairs(logged) do
    txn:set_var("txn.waf_action", "detect")
    add_rules(txn, { "rule:" .. id })
    hits.add(id)
  end
  if rule then hits.add(rule.id) end
  local due = hits.due(core.now().sec)
  if due then txn:set_var("txn.hits", due) end
  if not rule then return end
  if rule.action == "challenge" or rule.action == "limit" then
    txn:set_var("txn.custom_asks", rule.action)
    txn:set_priv(rule)
    return
  end
  txn:set_var("txn.custom_action", rule.action)
  txn:unset_var("txn.policy")
  if rule.action == "block" then
    txn:set_var("txn.waf_action", "block")
    add_rules(txn, { "rule:" .. rule.id })
  end
end

core.register_action("lumos_rules", { "http-req" }, apply_rules)
core.register_action("lumos_inspect", { "http-req" }, inspect)

local function judge_agent(txn)
  local lists = {}
  lists[#lists + 1] = txn:get_var("txn.agents")
  lists[#lists + 1] = txn:get_var("txn.account_agents")
  if agents.is_denied(txn.sf:req_fhdr("user-agent"), lists) then txn:set_var("txn.waf_rules", "agent-deny") end
end

core.register_action("lumos_agents", { "http-req" }, judge_agent)

-- An event of this request, beside what others had to tell of it.
local function teller(txn)
  return function(action, rule, matched)
    txn:set_var("txn.waf_action", action)
    add_rules(txn, { rule })
    if matched and not txn:get_var("txn.waf_matched") then txn:set_var("txn.waf_matched", matched) end
  end
end

core.register_action("lumos_script", { "http-req" }, safely(function(txn) scripted.examine(txn, teller(txn)) end))
core.register_action("lumos_script_answer", { "http-req" }, scripted.answer)
core.register_action("lumos_script_headers", { "http-res" }, safely(scripted.add_headers))
core.register_service("lumos_dictionaries", "tcp", function(applet) remote.serve(applet, scripted.seconds) end)
