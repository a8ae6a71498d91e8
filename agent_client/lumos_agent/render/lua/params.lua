-- Splits a query string or a form into names and values, still encoded, in order.
local params = {}

local find, sub = string.find, string.sub

-- Calls `each(name, value)` for up to `most` pairs ("" as name without "="); returns where the rest begins, or nil.
function params.each(text, most, each)
  local at, count = 1, 0
  while at <= #text do
    if count >= most then return at end
    local stop = find(text, "[&;]", at) or #text + 1
    -- ";" separates only if a name follows, as old servers read it.
    while sub(text, stop, stop) == ";" and not find(text, "^[%w_.%-]+=", stop + 1) do
      stop = find(text, "[&;]", stop + 1) or #text + 1
    end
    if stop > at then
      local equals = find(text, "=", at, true)
      if equals and equals < stop then
        each(sub(text, at, equals - 1), sub(text, equals + 1, stop - 1))
      else
        each("", sub(text, at, stop - 1))
      end
      count = count + 1
    end
    at = stop + 1
  end
  return nil
end

return params
