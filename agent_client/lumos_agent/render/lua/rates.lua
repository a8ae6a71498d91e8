-- Rate rules: which of a domain's rules count a request, and in which slot of HAProxy's tables.
-- A table has as many keys as slots, so it never fills up and no flood of new clients pushes a counter out.
local policy = require("policy")

local rates = {}

local SLOTS = 2 ^ 19 | 0
-- Windows up to a minute have two trackers, longer ones the third; each window has its counter.
local TRACKERS = { [10] = { 0, 1 }, [60] = { 0, 1 }, [600] = { 2 }, [3600] = { 2 } }
local COUNTERS = { [10] = "gpc0", [60] = "gpc1", [600] = "gpc0", [3600] = "gpc1" }

local function client_of(rule, txn)
  local sf, value = txn.sf, ""
  if rule.key == "token" then value = sf:req_fhdr(rule.name)
  elseif rule.key == "cookie" then value = sf:req_cook(rule.name)
  end
  if value ~= "" then return rule.key .. value end
  local address = txn:get_var("txn.client")
  return rule.key == "address-and-path" and address .. sf:path() or address
end

local function holds(rule, txn)
  local sf = txn.sf
  if rule.methods and not rule.methods[sf:method()] then return false end
  if rule.header and sf:req_fhdr(rule.header) == "" then return false end
  return rule.path == "" or policy.may_be_below(sf:path(), rule.path)
end

-- Seeded with the key, so that nobody can choose whose slot he shares.
local function slot_of(rule, txn, seed)
  local text = table.concat({ seed, txn:get_var("txn.domain"), rule.id, rule.window, client_of(rule, txn) }, "\n")
  return txn.c:xxh64(text) & (SLOTS - 1)
end

-- Lets HAProxy track the slots of those of `rules` that hold; returns {tracker = rule}. `taken` trackers are left alone.
function rates.track(rules, txn, seed, taken)
  local tracked = {}
  for _, rule in ipairs(rules) do
    if holds(rule, txn) then
      for _, tracker in ipairs(TRACKERS[rule.window]) do
        if not tracked[tracker] and tracker ~= taken then
          tracked[tracker] = rule
          txn:set_var("txn.slot" .. tracker, slot_of(rule, txn, seed))
          break
        end
      end
    end
  end
  return tracked
end

local function fetch(txn, name)
  return txn.f[name](txn.f) or 0
end

local function count(txn, tracker, rule)
  fetch(txn, "sc" .. tracker .. "_inc_" .. COUNTERS[rule.window])
end

-- Counts a request; returns the first rule whose limit it is over, or nil.
function rates.exceeded(txn, tracked)
  local over
  for tracker = 0, 2 do
    local rule = tracked[tracker]
    if rule then
      if not rule.statuses then count(txn, tracker, rule) end
      local rate = fetch(txn, "sc" .. tracker .. "_" .. COUNTERS[rule.window] .. "_rate")
      if rate > rule.requests or rule.statuses and rate == rule.requests then over = over or rule end
    end
  end
  return over
end

-- Whether a rule waits for the answer.
function rates.counts_answers(tracked)
  for _, rule in pairs(tracked) do
    if rule.statuses then return true end
  end
  return false
end

-- Counts an answer with the rules for its status.
function rates.answered(txn, tracked)
  local status = txn.f:status()
  for tracker, rule in pairs(tracked) do
    for _, range in ipairs(rule.statuses or {}) do
      if status >= range[1] and status <= range[2] then
        count(txn, tracker, rule)
        break
      end
    end
  end
end

return rates
