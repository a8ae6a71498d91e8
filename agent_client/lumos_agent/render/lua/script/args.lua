-- Arguments of the functions that scripts call: the interpreter's own messages would name places in the engine.
local args = {}

local CALLER = 3

function args.refuse(index, name, expected, value)
  error("bad argument #" .. index .. " to '" .. name .. "' (" .. expected .. ", got " .. (value == nil and "no value" or type(value)) .. ")", CALLER + 1)
end

-- Returns a text; numbers count as text.
function args.text(value, index, name)
  if type(value) == "string" then return value end
  if type(value) == "number" then return tostring(value) end
  error("bad argument #" .. index .. " to '" .. name .. "' (string expected, got " .. (value == nil and "no value" or type(value)) .. ")", CALLER)
end

function args.number(value, index, name)
  local number = tonumber(value)
  if number then return number end
  error("bad argument #" .. index .. " to '" .. name .. "' (number expected, got " .. (value == nil and "no value" or type(value)) .. ")", CALLER)
end

-- Returns a whole number; fractions are cut as in Lua 5.1.
function args.integer(value, index, name)
  local number = tonumber(value)
  if number and number == number and number >= -2^53 and number <= 2^53 then return math.tointeger(number) or math.floor(number) end
  if number and number > 0 then return 1 << 53 end
  if number and number < 0 then return -(1 << 53) end
  error("bad argument #" .. index .. " to '" .. name .. "' (number expected, got " .. (value == nil and "no value" or type(value)) .. ")", CALLER)
end

function args.table(value, index, name)
  if type(value) == "table" then return value end
  error("bad argument #" .. index .. " to '" .. name .. "' (table expected, got " .. (value == nil and "no value" or type(value)) .. ")", CALLER)
end

return args
