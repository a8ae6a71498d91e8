-- SQL injection by structure: a value is read as SQL in each place where it could land (bare, inside ' and inside "),
-- and the sequence of token kinds tells code from prose.
local grammar = require("rules.sql_grammar")
local lexer = require("rules.sql_lexer")
local CATALOGUE = require("rules.sql_words").CATALOGUE

local TOKENS_MAX = 500
local ANCHOR_TOKENS = 60

local RULES = {
  union = { id = "sqli-union", score = 10, why = "UNION SELECT with a column list appends an attacker's query to the site's." },
  union_bare = { id = "sqli-union-words", score = 4, why = "UNION SELECT without a column list probes for an injection." },
  tautology = { id = "sqli-tautology", score = 8, why = "A comparison with a known outcome makes a condition always or never true." },
  condition = { id = "sqli-condition", score = 6, why = "A condition on a column is appended to a value." },
  condition_bare = { id = "sqli-condition-start", score = 3, why = "The value begins with AND or OR and a comparison." },
  open_call = { id = "sqli-open-call", score = 3, why = "The value is the beginning of a call of an SQL function." },
  cast = { id = "sqli-cast", score = 5, why = "Casts a value to a type of PostgreSQL." },
  logic = { id = "sqli-logic", score = 6, why = "A logical or arithmetic operator joins a value with a database expression." },
  stacked = { id = "sqli-stacked", score = 10, why = "A second SQL statement follows a semicolon." },
  statement = { id = "sqli-statement", score = 6, why = "The value is a complete SQL statement." },
  statement_words = { id = "sqli-statement-words", score = 3, why = "The value has the shape of a short SQL statement." },
  call = { id = "sqli-function", score = 8, why = "Calls a database function that waits, reads files, runs programs or leaks data." },
  call_alone = { id = "sqli-function-alone", score = 5, why = "The value is a call that makes a database wait." },
  subselect = { id = "sqli-subselect", score = 6, why = "A parenthesis holds a SELECT." },
  clause = { id = "sqli-clause", score = 6, why = "ORDER BY, HAVING, LIMIT or INTO OUTFILE follows a value." },
  clause_words = { id = "sqli-clause-words", score = 3, why = "The value is an ORDER BY or LIMIT clause with numbers." },
  case = { id = "sqli-case", score = 6, why = "CASE WHEN asks a database for one bit." },
  built = { id = "sqli-char", score = 6, why = "A text is built from character codes by SQL functions." },
  catalogue = { id = "sqli-catalogue", score = 6, why = "Asks the tables in which a database describes itself." },
  catalogue_name = { id = "sqli-catalogue-name", score = 3, why = "Names a table or variable in which a database describes itself." },
  terminator = { id = "sqli-terminator", score = 5, why = "Leaves a string and comments the rest of the query away." },
  comment = { id = "sqli-comment", score = 4, why = "Comments stand between SQL key words instead of spaces." },
  fragment = { id = "sqli-fragment", score = 5, why = "Behind a left string the value goes on as well-formed SQL." },
}

local find, sub, gsub = string.find, string.sub, string.gsub

local function note(reading, report, rule, at)
  local first = at or 1
  report(rule, lexer.slice(reading, first, first + 12))
end

-- Rules that hold wherever the value lands.
local function judge_anywhere(reading, report, is_anchored)
  local kinds = reading.kinds
  if find(kinds, "U", 1, true) then
    local at, is_certain = grammar.union(reading, is_anchored)
    if at then note(reading, report, is_certain and RULES.union or RULES.union_bare, at) end
  end
  if find(kinds, "S", 1, true) then
    local at = grammar.subselect(kinds)
    if at then note(reading, report, RULES.subselect, at) end
  end
  if find(kinds, "C", 1, true) then
    local at = grammar.case(kinds)
    if at then note(reading, report, RULES.case, at) end
  end
  if find(kinds, "T", 1, true) then
    local at = grammar.waitfor(reading)
    if at then note(reading, report, RULES.call, at) end
  end
  if find(kinds, "f%(+[1s]") and grammar.choice(kinds) then note(reading, report, RULES.logic) end
  if find(kinds, "l", 1, true) then
    local at, is_joined = grammar.loud_call(reading)
    if at then note(reading, report, is_joined and RULES.call or RULES.call_alone, at) end
  end
  if find(kinds, "f%(1") then
    local at = grammar.built_text(kinds)
    if at then note(reading, report, RULES.built, at) end
  end
  local at, is_certain = grammar.catalogue(reading)
  if at then
    note(reading, report, is_certain and find(kinds, "[SF&=(]") and RULES.catalogue or RULES.catalogue_name, at)
  end
end

local function judge_statements(reading, report)
  local kinds = reading.kinds
  local at = find(kinds, ";", 1, true)
  while at do
    local is_statement, is_certain = grammar.statement(reading, at + 1)
    if is_statement then return note(reading, report, is_certain and RULES.stacked or RULES.statement_words, at) end
    at = find(kinds, ";", at + 1, true)
  end
end

local function judge_logic(reading, report, is_left)
  local kinds = reading.kinds
  local flat = gsub(kinds, "[()]", "")
  local at = find(kinds, "[&WH]") and grammar.tautology(flat)
  if at then note(reading, report, RULES.tautology, find(kinds, "[&WH]")) end
  if find(kinds, "^[+]*[1svnw]?%)*&") and (is_left or grammar.is_well_formed(kinds)) then
    if grammar.condition(flat) and (is_left or find(kinds, "^[1s]")) then note(reading, report, RULES.condition) end
    if grammar.logic_call(kinds) then note(reading, report, RULES.logic) end
  end
  at = find(kinds, "[OHLWIP]") and grammar.clause(reading, is_left)
  if at then
    local _, is_certain = grammar.clause(reading, is_left)
    note(reading, report, is_certain and RULES.clause or RULES.clause_words, at)
  end
end

-- The value behind its first quote, as it continues a query that opened the string.
local function judge_left(text, quote_at, report)
  local reading = lexer.read(text, quote_at + 1, TOKENS_MAX)
  local kinds = reading.kinds
  if not find(kinds, "^[&=+*),;cUOHLWIF!SPTn]") and not find(kinds, "^%(+[Sfl]") then return judge_statements(reading, report) end
  local prefix = sub(text, 1, quote_at - 1)
  local is_statement, is_certain = grammar.statement(reading, 1)
  if is_statement then note(reading, report, is_certain and RULES.stacked or RULES.statement_words) end
  judge_anywhere(reading, report, true)
  judge_statements(reading, report)
  judge_logic(reading, report, true)
  if grammar.terminator(reading, prefix) then note(reading, report, RULES.terminator) end
  local is_tight = not find(prefix, "%s") and (not reading.open or not find(reading.words[#reading.words], "%s%S*%s"))
  if is_tight and grammar.short_logic(kinds) and not find(kinds, "[1sw][1w]") then note(reading, report, RULES.logic) end
  local is_closed = reading.open or find(kinds, "c$")
  if is_tight and is_closed and #kinds >= 3 and grammar.is_well_formed(kinds) and (find(kinds, "[&=(]") or find(kinds, "^[+&=]w;?c$") or find(kinds, "^+w[w;]?c$")) then
    note(reading, report, RULES.fragment)
  end
end

-- What a value that lands outside quotes begins with.
local function judge_start(reading, report)
  local kinds, texts = reading.kinds, reading.words
  if find(kinds, "^[(+]*[1s]?%)*&[+!(]*[1vns]%)*;?c") then note(reading, report, RULES.logic) end
  local at = find(kinds, "^[1sw)]*&!*%(*w=w%)*;?c?$") and find(kinds, "w=w", 1, true)
  if at and texts[at] == texts[at + 2] then
    note(reading, report, RULES.logic, at)
  elseif grammar.beginning(kinds) then
    note(reading, report, RULES.condition_bare)
  end
  if find(kinds, "^[(1].*c$") and find(kinds, "[&=f]") and #kinds > 3 and grammar.is_well_formed(kinds) then
    note(reading, report, RULES.fragment)
  end
  if find(kinds, "^[fl]%([1s]?=?$") and find(reading.text, "^%s*[%w_]+%s*%(") then note(reading, report, RULES.open_call) end
end

local function judge_bare(text, value, report)
  local reading = lexer.read(text, 1, TOKENS_MAX)
  local kinds = reading.kinds
  local is_anchored = find(kinds, "^[+]*[1svn)]+U") ~= nil or find(kinds, "^U") ~= nil
  judge_anywhere(reading, report, is_anchored)
  judge_statements(reading, report)
  judge_logic(reading, report, false)
  local is_statement, is_certain = grammar.statement(reading, 1)
  if is_statement and find(kinds, "^[ST]") and value.name ~= "referer" then
    local has_sense = is_certain and (find(kinds, "[flvC;c]") or find(kinds, "^[^S]") or find(kinds, "^S[^F]*[+&=(]"))
    note(reading, report, has_sense and RULES.statement or RULES.statement_words)
  end
  judge_start(reading, report)
  if find(kinds, "^1%)+;?c$") then note(reading, report, RULES.terminator) end
  local is_joint = reading.inner > 0 and find(text, "%w/%*[^*/]*%*/%w")
  if is_joint or find(kinds, "[USF&TOW]") and (reading.hidden > 0 or reading.inner > 1 and not find(text, "%s")) then
    note(reading, report, RULES.comment)
  end
  return reading
end

-- The quote that leaves a string: two in a row stay inside.
local function left_at(text, quote)
  local at = find(text, quote, 1, true)
  if at and sub(text, at, at + 2) == quote .. quote .. quote then return at + 2 end
  return at
end

local function read(text, value, report)
  local cast = find(text, "::", 1, true) and find(text, "['\")]::%s*%l")
  if cast then report(RULES.cast, sub(text, cast, cast + 40)) end
  local bare = judge_bare(text, value, report)
  local single = left_at(text, "'")
  if single then judge_left(text, single, report) end
  local double = left_at(text, '"')
  if double then judge_left(text, double, report) end
  return bare
end

local ANCHORS = { "union", "select", "waitfor", "sleep(", "benchmark(", "' or", "' and", "xp_cmdshell" }

-- Attacks behind more tokens than are read from the start.
local function judge_tail(text, from, report)
  for _, anchor in ipairs(ANCHORS) do
    local at = find(text, anchor, from, true)
    if at then
      local reading = lexer.read(text, at, ANCHOR_TOKENS)
      judge_anywhere(reading, report, false)
      if find(anchor, "'", 1, true) then judge_logic(lexer.read(text, at + 1, ANCHOR_TOKENS), report, true) end
    end
  end
end

local function gate(value)
  local text = value.text
  return #text > 2 and find(text, "[^%w_.%-]") ~= nil or CATALOGUE[text] ~= nil
end

local function judge(value, report)
  local text = value.text
  if find(text, "\xa0", 1, true) then text = gsub(text, "(%f[\xa0][^\x80-\xbf\xc2-\xf4])\xa0", "%1 ") end
  local reading = read(text, value, report)
  if reading.stop <= #text then judge_tail(text, reading.stop, report) end
  -- Spaces that were encoded once more, or as in a form where none is.
  if find(text, "%a%+") and not find(text, " ", 1, true) then read((gsub(text, "%+", " ")), value, report) end
  -- Filters that cut comments out join what they separated.
  if reading.inner > 0 then
    read((gsub(text, "/%*[^*]*%*/", "")), value, report)
  end
end

return { group = "sqli", rules = RULES, gate = gate, judge = judge }
