-- Abuse of HTTP itself that HAProxy lets through.
local find, gsub = string.find, string.gsub

local RULES = {
  null = { id = "protocol-null", score = 3, why = "A NUL byte, which ends the text for one program and not for the next." },
  ranges = { id = "protocol-ranges", score = 5, why = "So many byte ranges that only a server's memory is meant." },
}

local RANGES_MAX = 10
local function gate(value)
  return value.place == "header" and value.name == "range" or find(value.text, "\0", 1, true) ~= nil
end

local NULL_PLACES = { query = true, cookie = true, path = true, name = true }

local function judge(value, report)
  if value.name == "range" and select(2, gsub(value.text, ",", ",")) >= RANGES_MAX then report(RULES.ranges, value.text) end
  if NULL_PLACES[value.place] and find(value.text, "\0", 1, true) then report(RULES.null, value.text) end
end

return {
  group = "protocol", rules = RULES, gate = gate, judge = judge,
  about = "Abuse of HTTP itself, such as NUL bytes or hundreds of byte ranges.",
}
