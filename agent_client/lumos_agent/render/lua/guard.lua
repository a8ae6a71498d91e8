-- Bot check and rates of a request, in two steps: HAProxy tracks in its tables between them what the first one names.
local check = require("check")
local guarded = require("guarded")
local rates = require("rates")

local guard = {}

local SPENDING_TRACKER = 2

local function act(txn, action, rule)
  txn:set_var("txn.waf_action", action)
  local earlier = txn:get_var("txn.waf_rules")
  txn:set_var("txn.waf_rules", (earlier and earlier .. "," or "") .. rule)
  -- Neither bodies nor patterns matter any more.
  txn:unset_var("txn.policy")
end

local function challenge(txn, level, rule)
  act(txn, "challenge", rule)
  if check.takes_page(txn) then
    local token, bits, nonce = check.puzzle(txn, level)
    txn:set_var("txn.check_token", token)
    txn:set_var("txn.check_bits", bits)
    txn:set_var("txn.check_nonce", nonce)
  end
end

-- First step: decides the bot check, and names the slots of counters.
function guard.examine(txn)
  local wanted = guarded.parse(txn:get_var("txn.guard"))
  local asks = txn:get_var("txn.custom_asks")
  local rule = asks and txn:get_priv()
  local state = { guard = wanted, reason = asks == "challenge" and rule.event or "bot-check" }
  local counting = asks == "limit" and { rule.limit, table.unpack(wanted.rates) } or wanted.rates
  local spending = check.is_ready() and check.solved(txn) or nil
  if spending then
    txn:set_var("txn.spend", spending)
    state.is_spending = true
  end
  if check.is_ready() and (asks == "challenge" or check.is_wanted(wanted, txn)) and not check.has_pass(txn) then
    if not spending then return challenge(txn, wanted.level, state.reason) end
    state.needs_spending = true
  end
  if spending or #counting > 0 then
    state.tracked = rates.track(counting, txn, check.seed(), spending and SPENDING_TRACKER)
    txn:set_priv(state)
    txn:set_var("txn.settles", true)
    if rates.counts_answers(state.tracked) then txn:set_var("txn.counts_answers", true) end
  end
end

-- Second step: spends the solution of a puzzle, counts, and decides the rates.
function guard.settle(txn)
  local state = txn:get_priv()
  local is_checked = false
  if state.is_spending then
    is_checked = txn.f:sc2_inc_gpc0() == 1
    if is_checked then
      local pass, solved = check.cookies(txn)
      txn:set_var("txn.pass_cookie", pass)
      txn:set_var("txn.solved_cookie", solved)
    elseif state.needs_spending then
      return challenge(txn, state.guard.level, state.reason)
    end
  end
  local rule = rates.exceeded(txn, state.tracked)
  if not rule then return end
  if rule.action ~= "challenge" or not check.is_ready() then
    txn:set_var("txn.retry_after", rule.window)
    act(txn, "limit", rule.event)
  elseif not is_checked and not check.has_pass(txn) then
    challenge(txn, state.guard.level, rule.event)
  end
end

function guard.answered(txn)
  rates.answered(txn, txn:get_priv().tracked)
end

return guard
