-- Whether a statement of SQL begins at a token. Each verb has its shape; key words alone are prose ("drop the table").
local statements = {}

local find, sub = string.find, string.sub

-- What may stand behind SELECT, besides prose.
local SELECT_LISTS = {
  "^!*[*+(]*[1svnflg]%)*[F,(WUL;c&=+)I]", "^!*%*[Fc]", "^!*%**[Fc]", "^!*[(+]*[flv]", "^!*[(]*[1sv]%)*$",
  "^!*wFw[c;W]?$", "^!*wFwW", "^!*w[,(.*+][^S;]*Fw", "^!*[CS]", "^!*%(+S",
}
-- SELECT lists that people write in prose too: "select a from b", "select 2 of", "select (one or two)".
local PROSE_LISTS = { "^wFw*$", "^[1s]w", "^%(*ww" }

local OBJECTS = " table database user view procedure proc index function login role schema trigger tablespace type or "
-- Verbs with the word that must follow before a name comes.
local OBJECT_OF = {
  delete = " from ", insert = " into overwrite ignore ", replace = " into ", merge = " into ", truncate = " table ",
  drop = OBJECTS, create = OBJECTS .. "temporary unique ", alter = OBJECTS .. "session system ", rename = " table ",
  backup = " database log ", restore = " database ", attach = " database ", load = " data xml ", bulk = " insert ",
}

local function any(kinds, patterns, at)
  for _, pattern in ipairs(patterns) do
    if find(kinds, pattern, at) then return true end
  end
  return false
end

local function is_among(list, word)
  return word ~= "" and find(list, " " .. word .. " ", 1, true) ~= nil
end

local function is_execution(reading, at)
  local kinds, follows = reading.kinds, reading.words[at + 1] or ""
  return find(kinds, "^[lvs]", at + 1) or find(kinds, "^%([vsfl]", at + 1) or find(follows, "..", 1, true)
    or follows == "immediate"
end

local function is_copy(reading, at)
  return find(reading.kinds, "^[w(]", at + 1) and find(reading.text, "copy%s+[%w_.()]+%s+from%s+['p]")
    or find(reading.text, "copy%s+%([^;]+%)%s+to%s+['p]")
end

-- verb -> function(reading, position of the verb) -> whether it is a statement
local SHAPES = {
  exec = is_execution, execute = is_execution, copy = is_copy,
  ["if"] = function(reading, at) return any(reading.kinds, { "^%(+[1sS]", "^1=" }, at + 1) end,
  iif = function(reading, at) return find(reading.kinds, "^%(+[1sS]", at + 1) end,
  set = function(reading, at) return find(reading.kinds, "^v", at + 1) end,
  declare = function(reading, at) return any(reading.kinds, { "^v", "^ww?[;(]" }, at + 1) end,
  shutdown = function(reading, at)
    return at > 1 and any(reading.kinds, { "^[c;]", "^kw", "^$" }, at + 1)
  end,
  update = function(reading, at) return find(reading.kinds, "^wkw=", at + 1) and reading.words[at + 2] == "set" end,
  call = function(reading, at) return at > 1 and find(reading.kinds, "^[flg]%(", at + 1) end,
  ["do"] = function(reading, at) return find(reading.kinds, "^[fl]%(", at + 1) end,
  begin = function(reading, at) return find(reading.kinds, "^[TlS]", at + 1) and find(reading.kinds, ";", at, true) end,
  handler = function(reading, at) return reading.words[at + 2] == "open" or reading.words[at + 2] == "read" end,
  prepare = function(reading, at) return reading.words[at + 2] == "from" end,
  grant = function(reading, at) return is_among(" to on ", reading.words[at + 2] or "") end,
  revoke = function(reading, at) return is_among(" from on ", reading.words[at + 2] or "") end,
  dbcc = function(reading, at) return find(reading.kinds, "^[gw]", at + 1) end,
  waitfor = function(reading, at) return find(reading.kinds, "^k[sv]", at + 1) end,
}

local function names_object(reading, at)
  local kinds, verb = reading.kinds, reading.words[at]
  if not OBJECT_OF[verb] or not is_among(OBJECT_OF[verb], reading.words[at + 1] or "") then return false, false end
  local is_named = verb == "backup" or verb == "restore" or any(kinds, { "^[wg][(c;WLSf]", "^[wk]$", "^[sl]" }, at + 2)
  return is_named or find(reading.words[at + 2] or "", "^`") ~= nil, is_named
end

-- Returns whether a statement begins at token `at`, and whether prose cannot be taken for it.
function statements.begins(reading, at)
  local kinds = reading.kinds
  local kind, verb = sub(kinds, at, at), reading.words[at]
  if kind == "S" then return any(kinds, SELECT_LISTS, at + 1), not any(kinds, PROSE_LISTS, at + 1) end
  if kind == "l" then return true, true end
  if SHAPES[verb] then return SHAPES[verb](reading, at) and true or false, true end
  return names_object(reading, at)
end

return statements
