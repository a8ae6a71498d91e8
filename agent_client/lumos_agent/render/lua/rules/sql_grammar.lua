-- What a reading of SQL tokens says: each function answers with the position of the decisive token, or nil. The kinds
-- of tokens are listed in sql_lexer.lua; "flat" is the string of kinds without parentheses.
local words = require("rules.sql_words")

local grammar = {}

local find, match, sub = string.find, string.match, string.sub

local function first(kinds, patterns)
  for _, pattern in ipairs(patterns) do
    local at = find(kinds, pattern)
    if at then return at end
  end
  return nil
end

-- Operands side by side are prose: SQL wants an operator, a comma or a key word between them.
local PROSE = { "[1svnw)][1svnwflg]", "[1svnw)][(?]", "%?", "[&=+]c?$" }
function grammar.is_well_formed(kinds)
  return not first(kinds, PROSE)
end

-- UNION … SELECT followed by what can only be a column list. The second value says whether it is certain.
function grammar.union(reading, is_anchored)
  local kinds = reading.kinds
  local at, stop = find(kinds, "U[!(]*[STk]")
  if not at then return nil end
  local verb, is_odd = reading.words[stop], reading.hidden + reading.inner > 0 or stop - at > 1
  if verb == "values" or verb == "table" then
    return find(kinds, "^[(1sw]", stop + 1) and at, is_anchored
  elseif verb ~= "select" then
    return nil
  end
  local list = find(kinds, "^!*[(+.]*[1svnflgSC*{]", stop + 1) and not find(kinds, "^!*1w", stop + 1)
  if list or find(kinds, "^!1w[,F.]", stop + 1) or find(kinds, "^!*w[,c);&+]", stop + 1) then return at, true end
  if find(kinds, "^!*wF", stop + 1) or find(kinds, "^!*[+c]?$", stop + 1) then return at, is_anchored or is_odd end
  return nil
end

-- OR/AND/WHERE/HAVING with a comparison of values, calls or subselects, whose outcome is known beforehand.
local TAUTOLOGIES = {
  "[&WH]!*[+]*[1svn]!?=+[!+]*[flgSC]", "[&WH]!*[+]*[1svn]!?=+[!+]*w[^1sw]", "[&WH]!*[+]*[1svn]!?=+[!+]*w$",
  "[&WH]!*[+]*[1svn]!?=+[!+]*[1svn][^1sw]", "[&WH]!*[+]*[1svn]!?=+[!+]*[1svn]$",
  "[&WH]!*[+]*[1svn][+]+[1svnflg]!?=", "[&WH]!*[+]*[1svn]!?=[&1c]", "^[1sw]?&!*[1s]=$",
  "[&WH]!*[+]*[fl][1svnw,+]*[1svnw]?!?=+!*[+]*[1svnfl]",
}
function grammar.tautology(flat)
  return first(flat, TAUTOLOGIES)
end

-- A condition on a column, as an injection writes it behind a value or a left string.
local CONDITIONS = { "^[1s]?&!*[+]*w!?=+!*[+]*[1svnflgSw]", "^[1s]?&!*[+]*w=c?$" }
function grammar.condition(flat)
  return first(flat, CONDITIONS)
end

-- Logic joined to a call or a subselect: `1 and f(…)`, `' or (select …)`.
local LOGIC_CALLS = {
  "^[+]*[1svnw]?%)*&[!+(*]*[fl]%(", "^[+]*[1svnw]?%)*&[!+(*]*S", "^[+]*[1svnw]?%)*&[!+(*]*CQ",
}
function grammar.logic_call(kinds)
  return first(kinds, LOGIC_CALLS)
end

-- Behind a left string, logic or arithmetic with a plain value up to the end: `' or 1--`, `'-0-'`, `' or '`.
local SHORT_LOGIC = {
  "^%)*&!*[+(]*[1svn]%)*;?c?$", "^%)*&!*[+(]*[1svn]%)*[)OLU;&]", "^%)*[+*=]+[!+]*[1vn][+*=&c]", "^%)*[+*=]+!*[1vn]$",
  "^%)*&[1sw]&s$", "^%)*[+*&=]+!?[(]*[flS][(!1*svnfl]", "^%)*&!*w;?c$", "^%)*[+]s[+&]s$", "^%)*&+!?s;?c?$",
}
function grammar.short_logic(kinds)
  return not find(kinds, "[1sw][1w]") and first(kinds, SHORT_LOGIC)
end

-- The parts of conditions and lists with which a value begins that was cut out of a statement.
local BEGINNINGS = {
  "^&!*w!?=+!*[(+]*[sfl1S]", "^&!*w!?=%(?$", "^&[1n]$", "^1&!*n$", "^=%(1,1", "^[kf]%(s,[s1]", "^,[fl]%(", "^&s%?+s",
  "^[)w]k[ws]F$",
}
function grammar.beginning(kinds)
  return first(kinds, BEGINNINGS)
end

-- WAITFOR DELAY '0:0:5'
function grammar.waitfor(reading)
  local at = find(reading.kinds, "Tk[sv]")
  while at and reading.words[at] ~= "waitfor" do at = find(reading.kinds, "Tk[sv]", at + 1) end
  return at
end

-- IF(1=1,…), ELT(1=1,…): a function whose first argument compares values, where an expression may begin.
function grammar.choice(kinds)
  return find(kinds, "^[+]*[1svnw]?%)*;?[&=+,*]?f%(+[1s]%)*=%(*[1sfS]")
end

-- Functions whose names are words of other languages too: only with an argument that fits.
local COMMON = { sleep = true, benchmark = true }

-- A call whose purpose is the attack. The second value says whether it is joined to something.
function grammar.loud_call(reading)
  local kinds = reading.kinds
  local at = find(kinds, "l", 1, true)
  while at do
    if sub(kinds, at + 1, at + 1) == "(" then
      local is_common = COMMON[reading.words[at]]
      local fits = find(kinds, "^[1svn][),=+*&]", at + 2) or find(kinds, "^[(SflgC!+]", at + 2)
      if fits or not is_common then return at, at > 1 or not is_common end
    elseif find(kinds, "^[sv]", at + 1) or at > 1 and find(kinds, "^[Tk]", at - 1) then
      return at, true
    end
    at = find(kinds, "l", at + 1, true)
  end
  return nil
end

local SUBSELECTS = {
  "%(S!*[*][F)c]", "%(S!*[(+]*[1svn]%)*[,)=+FW&cUL]", "%(S!*[1svn(]*$", "%(S!*[(+]*[flg]%(", "%(S!*w[,w]*F[wl(]",
  "%(S!*w[,+*&][^S]*F[wl(]", "%(S!*[(+]*CQ", "%(S!*[(]+S", "S%(CQ", "S%(C$",
}
function grammar.subselect(kinds)
  return first(kinds, SUBSELECTS)
end

-- INTO OUTFILE 'x', INTO @x
local function into(reading)
  local kinds, texts = reading.kinds, reading.words
  local at = find(kinds, "I[wvg]")
  while at do
    local target = texts[at + 1]
    if sub(target, 1, 1) == "@" then return at end
    if (target == "outfile" or target == "dumpfile") and find(kinds, "^%(*[1svfc]", at + 2) then return at end
    at = find(kinds, "I[wvg]", at + 1)
  end
  return nil
end

-- ORDER BY 3, HAVING 1=1, LIMIT 1,1 … behind a value.
local CLAUSES = {
  "^[1svw]?[);]*OB[(]*[1fl]%)*[c,;)ULk=]", "^[1sv]?[);]*OB[(]*[1fl]%)*$", "^%+1%)*OB1%)*c?$",
  "^[1sv]?%)*H!*[(+]*[1svnflw]+!?=", "^[1sv]?%)*L1[,L]1[c;U]?", "^[1sv]?%)+L1",
}
-- The same behind a left string, where less is needed.
local LEFT_CLAUSES = { "^%)*OB[w1]*[c,)(]", "^%)*L1", "^%)*W[1svw(fl]+!?=", "^%)*H[!(]*[w1sfl]+!?=", "^%)*H[w1]c" }

-- The second value says whether prose cannot be taken for it.
function grammar.clause(reading, is_left)
  local kinds = reading.kinds
  local analyse = find(kinds, "P[fg]%(")
  if analyse and reading.words[analyse + 1] == "analyse" then return analyse, true end
  local at = into(reading)
  if at then return at, true end
  at = first(kinds, CLAUSES) or is_left and first(kinds, LEFT_CLAUSES)
  return at, at and (is_left or kinds == "OB1" or find(kinds, "c$") ~= nil or find(kinds, "^[1sv]") ~= nil)
end

local CASES = { "CQ[!(+]*[1svnfl(S]", "CQ[(]*w!?=", "C[1sv(]+Q[1sv(]", "CQwQ[w1s]" }
function grammar.case(kinds)
  return first(kinds, CASES)
end

-- Text that is put together from character codes, to do without quotes.
local BUILT = { "f%(1%)[&+]+f%(1%)", "f%(1,1,1,1[,1]*%)[&+=,)]" }
function grammar.built_text(kinds)
  return first(kinds, BUILT)
end

local function catalogue_part(text)
  text = match(text, "^[%[`]([^%]`]*)[%]`]$") or text
  if words.VARIABLE[match(text, "^@@`?([%w_]+)") or ""] then return true, true end
  if words.CATALOGUE[text] then return true, find(text, "[._$]") ~= nil end
  local is_part = words.CATALOGUE[match(text, "^([^.]+)%.") or ""] or words.CATALOGUE[match(text, "%.([^.]+)$") or ""]
  return is_part, is_part
end

-- A name by which a database describes itself: the token, and whether it is a full one.
function grammar.catalogue(reading)
  local kinds = reading.kinds
  for at, text in ipairs(reading.words) do
    if #text > 4 and find(kinds, "^[wgvl]", at) then
      local is_part, is_full = catalogue_part(text)
      if is_part then return at, is_full end
    end
  end
  return nil
end

-- The comment that cuts the rest of a query away, right behind a left string or parenthesis.
local PREFIX_BYTES_MAX = 40
function grammar.is_terminator(reading, prefix)
  if not find(reading.kinds, "^%)*n?;*c$") or #prefix > PREFIX_BYTES_MAX or find(prefix, "%s") then return false end
  local comment = reading.words[#reading.words]
  return find(comment, prefix == "" and "^[-#/*\0]+%s*$" or "^[-#/*\0]+%s*[%w'\"]*[-#/*%s]*$") ~= nil
end

return grammar
