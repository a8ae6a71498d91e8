-- Splits a query string into names and values, still encoded, in order; duplicates stay.
local params = {}

function params.split(query)
  local result = {}
  for pair in string.gmatch(query, "[^&]+") do
    local name, value = string.match(pair, "^([^=]*)=(.*)$")
    if value then
      if #name > 3 and string.find(name, "[^%w_%-%.%[%]]") then result[#result + 1] = name end
      result[#result + 1] = value
    else
      result[#result + 1] = pair
    end
  end
  return result
end

return params
