-- SQL injection by structure: a small lexer reads a value as SQL where it would land (bare, inside ' or inside "), and
-- the sequence of token kinds tells code from prose.
local sqli = { group = "sqli" }

local TOKENS_MAX = 200

local RULES = {
  union = { id = "sqli-union", score = 10 },            -- UNION SELECT with a column list
  tautology = { id = "sqli-tautology", score = 8 },     -- OR/AND with a comparison of literals
  terminator = { id = "sqli-terminator", score = 5 },   -- leaves a string and comments the rest away
  stacked = { id = "sqli-stacked", score = 10 },        -- a second statement
  call = { id = "sqli-function", score = 8 },           -- calls a function that waits, reads files or leaks by errors
  subselect = { id = "sqli-subselect", score = 6 },     -- (SELECT … FROM table)
  clause = { id = "sqli-clause", score = 5 },           -- ORDER BY 3, HAVING 1=1, LIMIT … behind a left string or number
  catalogue = { id = "sqli-catalogue", score = 6 },     -- names of system tables
}

-- Kinds: U union, S select, T statement verb, K clause word, L and/or, O comparison, A arithmetic, N number, Q string,
-- B true/false/null, F dangerous function, W other word, C comment, * ( ) , ; . are themselves.
local WORDS = {
  union = "U", select = "S", ["and"] = "L", ["or"] = "L", xor = "L", ["not"] = "!", like = "O", rlike = "O", regexp = "O",
  between = "O", ["in"] = "i", is = "O", ["true"] = "B", ["false"] = "B", null = "B", insert = "T", update = "T",
  delete = "T", drop = "T", alter = "T", create = "T", truncate = "T", exec = "T", execute = "T", declare = "T",
  shutdown = "T", waitfor = "T", from = "K", where = "K", having = "K", order = "K", group = "K", by = "K", limit = "K",
  into = "K", table = "K", database = "K", set = "K", values = "K", delay = "K", outfile = "K", dumpfile = "K",
  procedure = "K", all = "a", distinct = "a",
}
local FUNCTIONS = {
  sleep = true, benchmark = true, pg_sleep = true, extractvalue = true, updatexml = true, load_file = true, xp_cmdshell = true,
  randomblob = true, dbms_pipe = true, utl_http = true, exp = true, group_concat = true, ascii = true, substring = true,
  substr = true, mid = true, ord = true, hex = true, unhex = true, char = true, chr = true, concat = true, concat_ws = true,
  version = true, database = true, user = true, current_user = true, convert = true, cast = true, count = true, length = true,
  if_ = true, ["if"] = true, iif = true, row = true, make_set = true, elt = true, floor = true, rand = true, name_const = true,
}
local LOUD = {
  sleep = true, benchmark = true, pg_sleep = true, extractvalue = true, updatexml = true, load_file = true, xp_cmdshell = true,
  randomblob = true,
}
local CATALOGUE = {
  information_schema = true, sysobjects = true, syscolumns = true, pg_catalog = true, sqlite_master = true, xp_cmdshell = true,
  all_tables = true, user_tables = true, pg_shadow = true,
}

local find, sub, byte = string.find, string.sub, string.byte

-- Reads one token at `at`; returns its kind, its text and where the next one begins.
local function token(text, at)
  local head = sub(text, at, at)
  local _, stop = find(text, "^[%a_@\x80-\xff][%w_@$\x80-\xff]*", at)
  if stop then
    local word = sub(text, at, stop)
    if find(text, "^%s*%(", stop + 1) and FUNCTIONS[word] then return "F", word, stop + 1 end
    if sub(word, 1, 2) == "@@" or CATALOGUE[word] then return "G", word, stop + 1 end
    return WORDS[word] or "W", word, stop + 1
  end
  _, stop = find(text, "^0x%x+", at)
  if not stop then _, stop = find(text, "^%d+%.?%d*", at) end
  if stop then return "N", sub(text, at, stop), stop + 1 end
  if head == "'" or head == '"' or head == "`" then
    local close = find(text, head, at + 1, true)
    return "Q", sub(text, at, close), (close or #text) + 1
  end
  if find(text, "^%-%-[%s%-]", at) or sub(text, at) == "--" or head == "#" then
    local line = find(text, "\n", at, true)
    return "C", sub(text, at, line), (line or #text) + 1
  end
  if sub(text, at, at + 1) == "/*" then
    local _, close = find(text, "*/", at + 2, true)
    return "C", sub(text, at, close), (close or #text) + 1
  end
  _, stop = find(text, "^[=<>!:]+", at)
  if stop then return "O", sub(text, at, stop), stop + 1 end
  if find(text, "^||", at) or find(text, "^&&", at) then return "L", sub(text, at, at + 1), at + 2 end
  if find(head, "[-+/%%^|&~]") then return "A", head, at + 1 end
  if find(head, "[*(),;.]") then return head, head, at + 1 end
  return "?", head, at + 1
end

-- Returns the kinds as one string and the texts; comments between words are white space, as databases read them.
local function lex(text, at)
  local kinds, texts = {}, {}
  while at <= #text and #kinds < TOKENS_MAX do
    local blank = find(text, "[^%s]", at)
    if not blank then break end
    local kind, value, after = token(text, blank)
    local is_inner_comment = kind == "C" and after <= #text and sub(value, 1, 2) == "/*"
    if not is_inner_comment then
      kinds[#kinds + 1], texts[#texts + 1] = kind, value
    end
    at = after
  end
  return table.concat(kinds), texts
end

local function words_at(texts, at, ...)
  for offset, wanted in ipairs({ ... }) do
    if texts[at + offset - 1] ~= wanted then return false end
  end
  return true
end

local function is_union(kinds)
  local at = find(kinds, "U[a(]*S")
  if not at then return false end
  local rest = string.match(kinds, "U[a(]*S(.*)$")
  return find(rest, "^a?[*NQBFG(]") ~= nil or find(rest, "^a?W[,.C]") ~= nil or find(rest, "^a?WK") ~= nil
    or find(rest, "^a?W?$") and find(kinds, "^[NQ)A]") ~= nil
end

local STACKED = {
  drop = { "table", "database", "user", "view", "procedure", "index" }, delete = { "from" }, insert = { "into" },
  truncate = { "table" }, alter = { "table", "user", "database" }, create = { "table", "user", "database", "function" },
  waitfor = { "delay", "time" },
}

local function is_stacked(kinds, texts)
  local at = 1
  while true do
    at = find(kinds, ";[TS]", at)
    if not at then return false end
    local verb, follows = texts[at + 1], texts[at + 2]
    if verb == "shutdown" and (not follows or find(kinds, "^[C;]", at + 2)) then return true end
    if (verb == "exec" or verb == "execute") and follows and find(follows, "^x?[sp]*p_") then return true end
    if verb == "declare" and follows and sub(follows, 1, 1) == "@" then return true end
    if verb == "select" and find(kinds, "^[*NQBFG(]", at + 2) then return true end
    if verb == "update" and find(kinds, "^WK", at + 2) and texts[at + 3] == "set" then return true end
    for _, object in ipairs(STACKED[verb] or {}) do
      if follows == object then return true end
    end
    at = at + 1
  end
end

-- `kinds` without parentheses, so that "1) or (1=1" reads like "1 or 1=1".
local function is_tautology(kinds, flat, is_left)
  if find(flat, "L!*[NQB]O+[NQB]") or find(flat, "L!*A?N[OA]+A?N") or find(flat, "L!*Q[OA]+Q") then return true end
  if not is_left then
    return find(flat, "^[NQ]L!*[NB]C") ~= nil or find(flat, "^A?N[L|A]+F") ~= nil
  end
  return find(flat, "^[NB]?L!*[NQBW]O+[NQBWF]") ~= nil or find(flat, "^L!*[NB]C?$") ~= nil or find(flat, "^L!*Q$") ~= nil
    or find(flat, "^O+[NQ]C?$") ~= nil or find(flat, "^[LA]+[FS]") ~= nil or find(kinds, "^%)*L!*%(*[NQB]") ~= nil
end

local function has_call(kinds, texts, is_left)
  for at = 1, #texts do
    if sub(kinds, at, at) == "F" then
      if LOUD[texts[at]] and not (at == 1 and not is_left)
        and (find(kinds, "^%([NQG][),]", at + 1) or find(kinds, "^%([FSA(]", at + 1)) then
        return true
      end
      if at > 1 and find(sub(kinds, at - 1, at - 1), "[LO]") and find(kinds, "^%([NQGFSWB(]", at + 1)
        and find(kinds, "[LO]F%(.-%)[OA]+[NQF]") then
        return true
      end
    elseif words_at(texts, at, "waitfor", "delay") and sub(kinds, at + 2, at + 2) == "Q" then
      return true
    end
  end
  return false
end

local function is_subselect(kinds)
  return find(kinds, "%(S[aW*NQF(),.GB]*K[WG%.Q]+%)") ~= nil or find(kinds, "%(S[aW*NQF(),.GB]*K[WG][%.W]*[KC]") ~= nil
    or find(kinds, "%(S[FG]") ~= nil
end

local function is_clause(kinds, texts, is_left)
  if not is_left and not find(kinds, "^A?[NQ]%)*K") then return false end
  for at = 1, #texts do
    local from_start = find(kinds, "^[NQA)]*K") and true or false
    if from_start and (words_at(texts, at, "order", "by") or words_at(texts, at, "group", "by"))
      and find(kinds, "^[NF(]", at + 2) then
      return true
    end
    if texts[at] == "having" and find(kinds, "^[NQ]O", at + 1) then return true end
    if texts[at] == "into" and (texts[at + 1] == "outfile" or texts[at + 1] == "dumpfile") then return true end
    if texts[at] == "procedure" and texts[at + 1] == "analyse" then return true end
  end
  return false
end

-- Judges one reading. `is_left`: the reading began by leaving a string, at byte `start`.
local function judge(text, start, is_left, found)
  local kinds, texts = lex(text, start)
  if #kinds < 2 and not (is_left and kinds == "C") then return end
  local function note(rule) found[rule.id] = rule end
  local flat = string.gsub(kinds, "[()]", "")
  if find(kinds, "U", 1, true) and is_union(kinds) then note(RULES.union) end
  if find(kinds, "[LO]") and is_tautology(kinds, flat, is_left) then note(RULES.tautology) end
  if find(kinds, ";", 1, true) and is_stacked(kinds, texts) then note(RULES.stacked) end
  if find(kinds, "[FT]") and has_call(kinds, texts, is_left) then note(RULES.call) end
  if find(kinds, "S", 1, true) and is_subselect(kinds) then note(RULES.subselect) end
  if find(kinds, "K", 1, true) and is_clause(kinds, texts, is_left) then note(RULES.clause) end
  if find(kinds, "G", 1, true) and find(kinds, "[SKF(LO]") then note(RULES.catalogue) end
  if is_left and find(kinds, "^%)*;?C$") and not find(sub(text, 1, start - 2), "%s") then note(RULES.terminator) end
end

sqli.rules = RULES

local QUOTES = { "'", '"' }

local function read(text, found)
  judge(text, 1, false, found)
  for _, quote in ipairs(QUOTES) do
    local at = find(text, quote, 1, true)
    if at then judge(text, at + 1, true, found) end
  end
end

function sqli.gate(value)
  return #value.text >= 3 and find(value.text, "[%s'\"(;/=|&*-]") ~= nil
end

function sqli.judge(value, report)
  local text, found = value.text, {}
  read(text, found)
  -- MySQL runs what stands in /*! */, and filters that only cut comments out join what they separated.
  if find(text, "/*", 1, true) then
    read((string.gsub(text, "/%*!%d*(.-)%*/", " %1 ")), found)
    read((string.gsub(text, "/%*.-%*/", "")), found)
  end
  for _, rule in pairs(found) do report(rule, text) end
end

return sqli
