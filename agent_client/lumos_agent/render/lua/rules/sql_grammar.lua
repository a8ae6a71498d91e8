-- What a reading of SQL tokens says: each function answers with the position of the decisive token, or nil.
-- The kinds of tokens are listed in sql_lexer.lua.
local words = require("rules.sql_words")

local grammar = {}

local find, match, sub = string.find, string.match, string.sub

-- Operands side by side are prose: SQL wants an operator, a comma or a key word between them.
function grammar.is_well_formed(kinds)
  return not find(kinds, "[1svnw)][1svnwflg]") and not find(kinds, "[1svnw)][(?]") and not find(kinds, "?", 1, true)
    and not find(kinds, "[&=+]c?$")
end

-- UNION … SELECT followed by something that can only be a column list. Returns position and whether it is certain.
function grammar.union(reading, is_anchored)
  local kinds = reading.kinds
  local at, stop = find(kinds, "U[!(]*[STk]")
  if not at then return nil end
  local last, verb = sub(kinds, stop, stop), reading.words[stop]
  if last ~= "S" then return (verb == "values" or verb == "table") and find(kinds, "^[(1sw]", stop + 1) and at, is_anchored end
  local list = find(kinds, "^!*[(+.]*[1svnflgSC*{]", stop + 1) and not find(kinds, "^!*1w", stop + 1)
  if list or find(kinds, "^!1w[,F.]", stop + 1) or find(kinds, "^!*w[,c);&+]", stop + 1) then return at, true end
  if find(kinds, "^!*wF", stop + 1) or find(kinds, "^!*[+c]?$", stop + 1) then
    return at, is_anchored or reading.hidden > 0 or stop - at > 1 or reading.inner > 0
  end
  return nil
end

-- A comparison whose outcome is known beforehand, behind OR/AND/WHERE/HAVING: both sides are values, calls or subselects.
function grammar.tautology(flat)
  return find(flat, "[&WH]!*[+]*[1svn]!?=+[!+]*[1svnflgSCw]") or find(flat, "[&WH]!*[+]*[1svn][+]+[1svnflg]!?=")
    or find(flat, "[&WH]!*[+]*[1svn]!?=[&1c]") or find(flat, "^[1sw]?&!*[1s]=$") or find(flat, "[&WH]!*[+]*[fl][1svnw,+]*[1svnw]?!?=+!*[+]*[1svnfl]")
end

-- A condition on a column, as an injection writes it behind a value or a left string.
function grammar.condition(flat)
  return find(flat, "^[1s]?&!*[+]*w!?=+!*[+]*[1svnflgSw]") or find(flat, "^[1s]?&!*[+]*w=c?$")
end

-- Logic joined to a call or a subselect: `1 and f(…)`, `' or (select …)`.
function grammar.logic_call(kinds)
  return find(kinds, "^[+]*[1svnw]?%)*&[!+(*]*[fl]%(") or find(kinds, "^[+]*[1svnw]?%)*&[!+(*]*S")
    or find(kinds, "^[+]*[1svnw]?%)*&[!+(*]*CQ")
end

-- Logic or arithmetic between a left string and a plain value that ends the query: `' or 1--`, `'-0-'`.
function grammar.short_logic(kinds)
  return find(kinds, "^%)*&!*[+(]*[1svn]%)*;?c?$") or find(kinds, "^%)*&!*[+(]*[1svn]%)*[)OLU;&]")
    or find(kinds, "^%)*[+*=]+[!+]*[1vn][+*=&c]") or find(kinds, "^%)*[+*=]+!*[1vn]$") or find(kinds, "^%)*&[1sw]&s$")
    or find(kinds, "^%)*[+*&=]+!?[(]*[flS][(!1*svnfl]") or find(kinds, "^%)*&!*w;?c$")
    or find(kinds, "^%)*[+]s[+&]s$") or find(kinds, "^%)*&+!?s;?c?$")
end

local OBJECTS = " table database user view procedure proc index function login role schema trigger tablespace type or "
local AFTER = {
  delete = " from ", insert = " into overwrite ignore ", replace = " into ", merge = " into ", truncate = " table ",
  drop = OBJECTS, create = OBJECTS .. "temporary unique ", alter = OBJECTS .. "session system ", rename = " table ",
  waitfor = " delay time ", backup = " database log ", restore = " database ", attach = " database ", load = " data xml ",
  bulk = " insert ", kill = "", vacuum = "",
}

local function is_select(kinds, at)
  return find(kinds, "^!*[*+(]*[1svnflg]%)*[F,(WUL;c&=+)I]", at) or find(kinds, "^!*%*[Fc]", at) or find(kinds, "^!*[(+]*[flv]", at)
    or find(kinds, "^!*[(]*[1sv]%)*$", at) or find(kinds, "^!*w[,w()fgl1s*.]*Fw", at) or find(kinds, "^!*[CS]", at)
    or find(kinds, "^!*%(+S", at)
end

-- Whether a statement begins at token `at`. The second value tells statements that prose cannot be taken for.
function grammar.statement(reading, at)
  local kinds, texts = reading.kinds, reading.words
  local verb, follows, third = texts[at], texts[at + 1] or "", texts[at + 2] or ""
  local kind = sub(kinds, at, at)
  if kind == "S" then
    if not is_select(kinds, at + 1) then return false end
    return true, not find(kinds, "^wFw*$", at + 1) and not find(kinds, "^[1s]w", at + 1) and not find(kinds, "^%(*ww", at + 1)
  end
  if kind == "k" then return verb == "set" and find(kinds, "^v", at + 1) ~= nil, true end
  if kind == "w" then return verb == "if" and find(kinds, "^1=", at + 1) ~= nil, true end
  if kind == "f" or kind == "l" then
    return kind == "l" or (verb == "if" or verb == "iif") and find(kinds, "^%(+[1sS]", at + 1) ~= nil, true
  end
  if kind ~= "T" then return false end
  if verb == "exec" or verb == "execute" then
    return find(kinds, "^[lvs]", at + 1) or find(kinds, "^[(][vsfl]", at + 1) or find(follows, "[.][.]") or follows == "immediate", true
  end
  if verb == "declare" then return find(kinds, "^v", at + 1) or find(kinds, "^ww?[;(]", at + 1), true end
  if verb == "shutdown" then return find(kinds, "^[c;]", at + 1) or find(kinds, "^kw", at + 1) or follows == "", at > 1 end
  if verb == "update" then return find(kinds, "^w", at + 1) and third == "set", true end
  if verb == "copy" then return find(kinds, "^[w(]", at + 1) and find(kinds, "^[^c;]*[Fw][slwF]", at + 1) and find(reading.text, "copy%s+[^;]-%s+from%s+['p]") ~= nil, true end
  if verb == "call" or verb == "do" then return find(kinds, "^[flg]%(", at + 1), true end
  if verb == "begin" then return find(kinds, "^[TlSQ]", at + 1) ~= nil and find(kinds, ";", at, true) ~= nil, true end
  if verb == "handler" then return third == "open" or third == "read", true end
  if verb == "prepare" then return third == "from", true end
  if verb == "grant" or verb == "revoke" then return find(" to on from ", " " .. third .. " ", 1, true) ~= nil and third ~= "", true end
  if verb == "dbcc" then return find(kinds, "^[gw]", at + 1), true end
  local objects = AFTER[verb]
  if not objects or not find(objects, " " .. follows .. " ", 1, true) then return false end
  if find(kinds, "^s", at + 2) and verb == "waitfor" then return true, true end
  return verb ~= "waitfor" and find(kinds, "^[wlsgk]", at + 2) ~= nil, verb == "backup" or verb == "restore" or find(kinds, "^[wg][(c;WkFTL]", at + 2) ~= nil or find(kinds, "^w$", at + 2) ~= nil
end

-- WAITFOR DELAY '0:0:5'
function grammar.waitfor(reading)
  local at = find(reading.kinds, "Tk[sv]")
  while at do
    if reading.words[at] == "waitfor" then return at end
    at = find(reading.kinds, "Tk[sv]", at + 1)
  end
  return nil
end

-- IF(1=1,…), ELT(1=1,…): a function whose first argument is a comparison of values, where an expression may begin.
function grammar.choice(kinds)
  return find(kinds, "^[+]*[1svnw]?%)*;?[&=+,*]?f%(+[1s]%)*=%(*[1sfS]")
end

-- The parts of conditions and lists with which a value begins that was cut out of a statement.
function grammar.beginning(kinds)
  return find(kinds, "^&!*w!?=+!*[(+]*[sfl1S]") or find(kinds, "^&!*w!?=%(?$") or find(kinds, "^&[1n]$") or find(kinds, "^1&n$")
    or find(kinds, "^=%(1,1") or find(kinds, "^[kf]%(s,[s1]") or find(kinds, "^,[fl]%(") or find(kinds, "^&s%?+s")
    or find(kinds, "^[)w]k[ws]F$")
end

-- A call whose purpose is the attack: it waits, reads, runs, connects or leaks.
local COMMON = { sleep = true, benchmark = true }
function grammar.loud_call(reading)
  local kinds, texts = reading.kinds, reading.words
  local at = find(kinds, "l", 1, true)
  while at do
    local open = sub(kinds, at + 1, at + 1)
    if open == "(" then
      local has_arguments = find(kinds, "^[1svn][),=+*&]", at + 2) or find(kinds, "^[(SflgC!+]", at + 2)
      if not COMMON[texts[at]] or has_arguments then return at, at > 1 or not COMMON[texts[at]] end
    elseif find(kinds, "^[sv]", at + 1) or find(kinds, "[Tk]", at - 1) == at - 1 and at > 1 then
      return at, true
    end
    at = find(kinds, "l", at + 1, true)
  end
  return nil
end

function grammar.subselect(kinds)
  return find(kinds, "%(S!*[*][F)c]") or find(kinds, "%(S!*[(+]*[1svn]%)*[,)=+FW&cUL]") or find(kinds, "%(S!*[1svn(]*$")
    or find(kinds, "%(S!*[(+]*[flg]%(") or find(kinds, "%(S!*w[,w]*F[wl(]") or find(kinds, "%(S!*w[,+*&][^S]*F[wl(]") or find(kinds, "%(S!*[(+]*CQ") or find(kinds, "%(S!*[(]+S")
    or find(kinds, "S%(CQ") or find(kinds, "S%(C$")
end

-- ORDER BY 3, HAVING 1=1, LIMIT 1,1 … behind a value or a left string; INTO OUTFILE and PROCEDURE ANALYSE anywhere.
function grammar.clause(reading, is_left)
  local kinds, texts = reading.kinds, reading.words
  local into = find(kinds, "I[wvg]")
  while into do
    local target = texts[into + 1]
    if sub(target, 1, 1) == "@" then return into, true end
    if (target == "outfile" or target == "dumpfile") and find(kinds, "^%(*[1svfc]", into + 2) then return into, true end
    into = find(kinds, "I[wvg]", into + 1)
  end
  local call = find(kinds, "P[fg]%(")
  if call and texts[call + 1] == "analyse" then return call, true end
  local at = find(kinds, "^[1svw]?[);]*OB[(]*[1fl]%)*[c,;)ULk=]") or find(kinds, "^[1sv]?[);]*OB[(]*[1fl]%)*$") or find(kinds, "^%+1%)*OB1%)*c?$")
    or find(kinds, "^[1sv]?%)*H!*[(+]*[1svnflw]+!?=") or find(kinds, "^[1sv]?%)*L1[,L]1[c;U]?") or find(kinds, "^[1sv]?%)+L1")
    or is_left and (find(kinds, "^%)*OB[w1]*[c,)(]") or find(kinds, "^%)*L1") or find(kinds, "^%)*W[1svw(fl]+!?=")
      or find(kinds, "^%)*H[w1sfl]"))
  if at then return at, is_left or find(kinds, "c$") ~= nil or find(kinds, "^[1sv]") ~= nil or kinds == "OB1" end
  return nil
end

function grammar.case(kinds)
  return find(kinds, "CQ[!(+]*[1svnfl(S]") or find(kinds, "CQ[(]*w!?=") or find(kinds, "C[1sv(]+Q[1sv(]") or find(kinds, "CQwQ[w1s]")
end

-- Text that is put together from character codes, to do without quotes.
function grammar.built_text(kinds)
  return find(kinds, "f%(1%)[&+]+f%(1%)") or find(kinds, "f%(1,1,1,1[,1]*%)[&+=,)]")
end

-- Names by which a database describes itself: the token, and whether it stands alone for an attack.
function grammar.catalogue(reading)
  local kinds, texts = reading.kinds, reading.words
  for at = 1, #texts do
    local text = match(texts[at], "^[%[`]([^%]`]*)[%]`]$") or texts[at]
    if #text > 4 and find(kinds, "^[wgvl]", at) then
      if words.CATALOGUE[text] then return at, find(text, "[._$]") ~= nil end
      local head = match(text, "^([^.]+)%.")
      if head and words.CATALOGUE[head] then return at, true end
      if words.VARIABLE[match(text, "^@@`?([%w_]+)")] then return at, true end
      local tail = match(text, "%.([^.]+)$")
      if tail and words.CATALOGUE[tail] then return at, true end
    end
  end
  return nil
end

-- The comment that cuts the rest of a query away, right behind a left string or parenthesis.
function grammar.terminator(reading, prefix)
  local kinds, texts = reading.kinds, reading.words
  if not find(kinds, "^%)*n?;*c$") or #prefix > 40 or find(prefix, "%s") then return nil end
  return find(texts[#texts], "^[-#/*\0]+%s*[%w'\"]*[-#/*%s]*$") and 1 or nil
end

return grammar
