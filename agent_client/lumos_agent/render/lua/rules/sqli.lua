-- SQL injection by structure: a value is read as SQL in each place where it could land (bare, inside ' and inside "),
-- and the sequence of token kinds tells code from prose.
local grammar = require("rules.sql_grammar")
local lexer = require("rules.sql_lexer")
local statements = require("rules.sql_statements")
local words = require("rules.sql_words")

local TOKENS_MAX = 500
local ANCHOR_TOKENS = 60
local MATCHED_TOKENS = 12

local RULES = {
  union = { id = "sqli-union", score = 10, why = "UNION SELECT with a column list appends a query of the visitor's." },
  union_words = { id = "sqli-union-words", score = 4, why = "UNION SELECT without columns probes for an injection." },
  tautology = { id = "sqli-tautology", score = 8, why = "A comparison with a known outcome decides a condition." },
  tautology_words = { id = "sqli-tautology-words", score = 2, why = "A comparison or statement among prose." },
  condition = { id = "sqli-condition", score = 6, why = "A condition on a column is appended to a value." },
  beginning = { id = "sqli-beginning", score = 3, why = "The value is the beginning or middle of an SQL condition." },
  logic = { id = "sqli-logic", score = 6, why = "An operator joins a value with an SQL expression." },
  cast = { id = "sqli-cast", score = 5, why = "Casts a value to a type of PostgreSQL." },
  stacked = { id = "sqli-stacked", score = 10, why = "A second SQL statement is appended." },
  statement = { id = "sqli-statement", score = 6, why = "The value is a complete SQL statement." },
  statement_words = { id = "sqli-statement-words", score = 3, why = "The value has the form of an SQL statement." },
  call = { id = "sqli-function", score = 8, why = "Calls a database function that waits, reads or runs programs." },
  call_alone = { id = "sqli-function-alone", score = 5, why = "The value is a call that makes a database wait." },
  open_call = { id = "sqli-open-call", score = 3, why = "The value is the beginning of a call of an SQL function." },
  subselect = { id = "sqli-subselect", score = 6, why = "A parenthesis holds a SELECT." },
  clause = { id = "sqli-clause", score = 6, why = "ORDER BY, HAVING, LIMIT or INTO OUTFILE follows a value." },
  clause_words = { id = "sqli-clause-words", score = 3, why = "The value begins with an ORDER BY or LIMIT clause." },
  case = { id = "sqli-case", score = 6, why = "CASE WHEN asks a database for one bit." },
  built = { id = "sqli-char", score = 6, why = "SQL functions build a text from character codes." },
  catalogue = { id = "sqli-catalogue", score = 6, why = "Asks the tables in which a database describes itself." },
  catalogue_name = { id = "sqli-catalogue-name", score = 3, why = "Names a table that describes a database." },
  terminator = { id = "sqli-terminator", score = 5, why = "Leaves a string and comments the rest of the query away." },
  comment = { id = "sqli-comment", score = 4, why = "Comments stand between words instead of spaces." },
  fragment = { id = "sqli-fragment", score = 5, why = "Behind a left string or number the value goes on as SQL." },
}

local find, sub, gsub = string.find, string.sub, string.gsub

local function note(reading, report, rule, at)
  report(rule, lexer.slice(reading, at or 1, (at or 1) + MATCHED_TOKENS))
end

-- Reports `rule` if `at` is a position.
local function note_if(reading, report, rule, at)
  if at then note(reading, report, rule, at) end
end

-- Rules that hold wherever the value lands. `is_anchored`: a UNION would follow a value or a left string.
local function judge_anywhere(reading, report, is_anchored)
  local kinds = reading.kinds
  if find(kinds, "U", 1, true) then
    local at, is_certain = grammar.union(reading, is_anchored)
    note_if(reading, report, is_certain and RULES.union or RULES.union_words, at)
  end
  if find(kinds, "S", 1, true) then note_if(reading, report, RULES.subselect, grammar.subselect(kinds)) end
  if find(kinds, "C", 1, true) then note_if(reading, report, RULES.case, grammar.case(kinds)) end
  if find(kinds, "T", 1, true) then note_if(reading, report, RULES.call, grammar.waitfor(reading)) end
  if find(kinds, "f(", 1, true) then
    note_if(reading, report, RULES.logic, grammar.choice(kinds))
    note_if(reading, report, RULES.built, grammar.built_text(kinds))
  end
  if find(kinds, "l", 1, true) then
    local at, is_joined = grammar.loud_call(reading)
    note_if(reading, report, is_joined and RULES.call or RULES.call_alone, at)
  end
  local at, is_full = grammar.catalogue(reading)
  note_if(reading, report, is_full and find(kinds, "[SF&=(]") and RULES.catalogue or RULES.catalogue_name, at)
end

-- Statements behind a semicolon.
local function judge_stacked(reading, report)
  local kinds = reading.kinds
  local at = find(kinds, ";", 1, true)
  while at do
    local is_statement, is_certain = statements.begins(reading, at + 1)
    if is_statement then return note(reading, report, is_certain and RULES.stacked or RULES.statement_words, at) end
    at = find(kinds, ";", at + 1, true)
  end
end

local function judge_logic(reading, report, is_left)
  local kinds = reading.kinds
  local flat = gsub(kinds, "[()]", "")
  local joint = find(kinds, "[&WH]")
  local tautology = joint and grammar.tautology(flat)
  if tautology then
    local is_in_prose = not is_left and find(sub(flat, 1, tautology), "[1svnw][svw]")
    note(reading, report, is_in_prose and RULES.tautology_words or RULES.tautology, joint)
  end
  if find(kinds, "^[+]*[1svnw]?%)*&") and (is_left or grammar.is_well_formed(kinds)) then
    if is_left or find(kinds, "^[1s]") then note_if(reading, report, RULES.condition, grammar.condition(flat)) end
    note_if(reading, report, RULES.logic, grammar.logic_call(kinds))
  end
  if find(kinds, "[OHLWIP]") then
    local at, is_certain = grammar.clause(reading, is_left)
    note_if(reading, report, is_certain and RULES.clause or RULES.clause_words, at)
  end
end

-- What may stand right behind the end of a string.
local LEFT_STARTS = { "^[&=+*),;cUOHLWIF!SPTn]", "^%(+[Sfl]" }
-- What makes well-formed tokens behind a left string SQL.
local FRAGMENTS = { "[&=(]", "^[+&=]w;?c$", "^+w[w;]?c$" }

local function is_any(kinds, patterns)
  for _, pattern in ipairs(patterns) do
    if find(kinds, pattern) then return true end
  end
  return false
end

-- Short forms count only without the white space of prose before the quote and in the string that stays open.
local function judge_short(reading, prefix, report)
  local kinds = reading.kinds
  local last = reading.words[#reading.words]
  if find(prefix, "%s") or reading.open and find(last, "%s%S*%s") then return end
  local is_joined = find(kinds, "^%)*[=+*]+s$") and #last == 1 and prefix ~= ""
  if is_joined or grammar.short_logic(kinds) then note(reading, report, RULES.logic) end
  local is_closed = reading.open or find(kinds, "c$")
  if is_closed and #kinds >= 3 and grammar.is_well_formed(kinds) and is_any(kinds, FRAGMENTS)
    and not find(reading.text, "^<%a", reading.starts[1]) then
    note(reading, report, RULES.fragment)
  end
end

-- The value behind a quote, as it continues a query that opened the string.
local function judge_left(text, quote_at, report)
  local reading = lexer.read(text, quote_at + 1, TOKENS_MAX)
  judge_stacked(reading, report)
  if not is_any(reading.kinds, LEFT_STARTS) then return end
  local prefix = sub(text, 1, quote_at - 1)
  local is_statement, is_certain = statements.begins(reading, 1)
  if is_statement then note(reading, report, is_certain and RULES.stacked or RULES.statement_words) end
  judge_anywhere(reading, report, true)
  judge_logic(reading, report, true)
  if grammar.is_terminator(reading, prefix) then note(reading, report, RULES.terminator) end
  judge_short(reading, prefix, report)
end

-- What a value begins with that lands outside quotes.
local function judge_start(reading, report)
  local kinds, texts = reading.kinds, reading.words
  if find(kinds, "^[(+]*[1s]?%)*&[+!(]*[1vns]%)*;?c") then note(reading, report, RULES.logic) end
  if find(kinds, "^1%)+;?c$") then note(reading, report, RULES.terminator) end
  local at = find(kinds, "^[1sw)]*&!*%(*w=w%)*;?c?$") and find(kinds, "w=w", 1, true)
  if at and texts[at] == texts[at + 2] then
    note(reading, report, RULES.logic, at)
  else
    note_if(reading, report, RULES.beginning, grammar.beginning(kinds))
  end
  if find(kinds, "^[(1].*c$") and find(kinds, "[&=f]") and #kinds > 3 and grammar.is_well_formed(kinds) then
    note(reading, report, RULES.fragment)
  end
  if find(kinds, "^[fl]%([1s]?=?$") and find(reading.text, "^%s*[%w_]+%s*%(") then
    note(reading, report, RULES.open_call)
  end
end

-- What people who write about SQL leave out.
local SENSE = { "[flvC;c]", "^S[^F]*[+&=(]", "W[(]*1=" }

local function judge_statement(reading, report)
  local kinds = reading.kinds
  if not find(kinds, "^[ST]") then return end
  local is_statement, is_certain = statements.begins(reading, 1)
  if not is_statement then return end
  local has_sense = is_certain and (find(kinds, "^[^S]") or is_any(kinds, SENSE))
  note(reading, report, has_sense and RULES.statement or RULES.statement_words)
end

local function judge_comments(reading, report)
  if reading.hidden + reading.inner == 0 then return end
  local text = reading.text
  local is_dense = reading.hidden > 0 or reading.inner > 1 and not find(text, "%s")
  if is_dense and find(reading.kinds, "[USF&TOW]") or find(text, "%w/%*[^*/]*%*/%w") then
    note(reading, report, RULES.comment)
  end
end

local function judge_bare(text, report)
  local reading = lexer.read(text, 1, TOKENS_MAX)
  judge_anywhere(reading, report, find(reading.kinds, "^[+]*[1svn)]*U") ~= nil)
  judge_stacked(reading, report)
  judge_logic(reading, report, false)
  judge_statement(reading, report)
  judge_start(reading, report)
  judge_comments(reading, report)
  return reading
end

-- The quote that leaves a string: two in a row stay inside.
local function left_at(text, quote)
  local at = find(text, quote, 1, true)
  if at and sub(text, at, at + 2) == quote .. quote .. quote then return at + 2 end
  return at
end

local QUOTES = { "'", '"' }

local function read(text, report)
  local cast, _, target = find(text, "['\")]::%s*(%l+)", find(text, "::", 1, true) and 1 or #text)
  if cast and words.TYPE[target] then report(RULES.cast, sub(text, cast, cast + 40)) end
  for _, quote in ipairs(QUOTES) do
    local at = left_at(text, quote)
    if at then judge_left(text, at, report) end
  end
  return judge_bare(text, report)
end

local ANCHORS = { "union", "select", "waitfor", "sleep(", "benchmark(", "' or", "' and", "xp_cmdshell" }

-- Attacks behind more tokens than are read from the start.
local function judge_tail(text, from, report)
  for _, anchor in ipairs(ANCHORS) do
    local at = find(text, anchor, from, true)
    if at then
      local is_left = find(anchor, "'", 1, true) ~= nil
      local reading = lexer.read(text, is_left and at + 1 or at, ANCHOR_TOKENS)
      judge_anywhere(reading, report, false)
      if is_left then judge_logic(reading, report, true) end
    end
  end
end

-- Key words without which prose, numbers and addresses hold no SQL.
local DECISIVE = {}
for word, kind in pairs(words.KIND) do DECISIVE[word] = not find("FQk!+B", kind, 1, true) or nil end
for _, list in ipairs({ words.CATALOGUE, words.LOUD, words.PACKAGE }) do
  for word in pairs(list) do DECISIVE[word] = true end
end

local function has_key_word(value)
  for word in pairs(value:words()) do
    if DECISIVE[word] then return true end
  end
  return find(value.text, "[xs]p_%l") ~= nil or find(value.text, "mysql.user", 1, true) ~= nil
end

local function gate(value)
  local text = value.text
  if not find(text, "[^%w_.%-]") then return words.CATALOGUE[text] ~= nil end
  if #text <= 2 then return false end
  if find(text, "[^%w%s_.,:/%%?!\x80-\xff-]") or find(text, "--", 1, true) then return true end
  return has_key_word(value)
end

-- Referer holds what people asked of another site's search engine: about SQL, too.
local IN_REFERER = {
  [RULES.tautology] = RULES.tautology_words, [RULES.statement] = RULES.tautology_words,
  [RULES.statement_words] = RULES.tautology_words,
}

local IN_PATH = { path = true, segment = true }

local function judge(value, report)
  local text = value.text
  if value.name == "referer" then
    local strict = report
    report = function(rule, matched) strict(IN_REFERER[rule] or rule, matched) end
  end
  if find(text, "\xa0", 1, true) then text = gsub(text, "([\0-\x7f])\xa0+", "%1 ") end
  local reading = read(text, report)
  if reading.stop <= #text then judge_tail(text, reading.stop, report) end
  -- Spaces that were encoded once more.
  local has_plus = not IN_PATH[value.place] and find(text, "+", 1, true) and find(text, "%a%+%a")
  if has_plus and not find(text, " ", 1, true) then
    read((gsub(text, "%+", " ")), report)
  end
  -- Filters that cut comments out join what they separated.
  if reading.inner > 0 then read((gsub(text, "/%*[^*]*%*/", "")), report) end
end

return {
  group = "sqli", rules = RULES, gate = gate, judge = judge, words = true,
  about = "SQL injection.",
}
