-- How often custom rules held, counted by each thread and told in the log at most once a second, by the next request of a
-- domain with rules: so that a rule that holds for every request costs no line for each.
local hits = {}

local PAUSE_SECONDS = 1
-- A line of the log has room for these.
local RULES_MAX = 20

local counted, told_at = {}, 0

function hits.add(id) counted[id] = (counted[id] or 0) + 1 end

-- Returns "hits:rule=count,…" if there is something to tell and it is time, else nil. What is told is forgotten.
function hits.due(now)
  if next(counted) == nil or now >= told_at and now - told_at < PAUSE_SECONDS then return nil end
  told_at = now
  local parts = {}
  for id, count in pairs(counted) do
    parts[#parts + 1] = id .. "=" .. count
    counted[id] = nil
    if #parts == RULES_MAX then break end
  end
  return "hits:" .. table.concat(parts, ",")
end

return hits
