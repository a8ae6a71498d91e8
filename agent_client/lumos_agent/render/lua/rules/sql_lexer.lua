-- Cuts text into tokens of SQL, tolerant of every dialect. A reading is {text, kinds, words, starts, open, hidden,
-- inner, stop}: `kinds` has one character per token, so that judgement is a search in a short string; `open` says that
-- the last string has no end, `hidden` and `inner` count the comments that MySQL runs and the others.
--   1 number  s string  v variable  n constant  w word  g unknown call  f function of SQL  l function only attacks use
--   U union  S select  T statement verb  F from  W where  H having  L limit  I into  O order/group  B by  C case
--   Q when/then/else/end  P procedure  & logical  = comparison  + arithmetic  ! not/exists/all  k other key word
--   c comment up to the end  ? anything else  * ( ) , ; . { } are themselves
local words = require("rules.sql_words")

local lexer = {}

local ESCAPES_MAX = 500
local WORD_BYTES_MAX = 100

local byte, find, match, sub = string.byte, string.find, string.match, string.sub
local KIND, LOUD, PACKAGE, FUNCTION = words.KIND, words.LOUD, words.PACKAGE, words.FUNCTION

local function word_kind(word, is_call)
  if is_call then
    if LOUD[word] then return "l" end
    local kind = KIND[word]
    if FUNCTION[word] then return "f" end
    if kind then return kind end
    local head, tail = match(word, "^([^.]+)%."), match(word, "%.([^.]+)$")
    return (PACKAGE[head or ""] or LOUD[tail or ""]) and "l" or "g"
  end
  if KIND[word] then return KIND[word] end
  local prefix = sub(word, 1, 3)
  if (prefix == "xp_" or prefix == "sp_") or find(word, "[.][xs]p_") then return "l" end
  return "w"
end

local function read_word(text, at)
  local _, stop = find(text, "^[%w\x80-\xff_$]+", at)
  while stop - at <= WORD_BYTES_MAX do
    local _, dotted = find(text, "^%.+[%a_`\x80-\xff][%w_$`\x80-\xff]*", stop + 1)
    if not dotted then break end
    stop = dotted
  end
  if stop - at > WORD_BYTES_MAX then return "w", stop end
  local word = sub(text, at, stop)
  if word == "top" then
    local _, number = find(text, "^%s*%(?%d+%)?%s", stop + 1)
    return "!", number or stop
  end
  return word_kind(word, find(text, "^%s*%(", stop + 1) ~= nil), stop
end

local function read_number(text, at)
  local _, stop = find(text, "^0x%x+", at)
  if not stop then _, stop = find(text, "^0b[01]+", at) end
  if not stop then
    _, stop = find(text, "^%d*%.?%d*", at)
    local _, exponent = find(text, "^e[+-]?%d+", stop + 1)
    stop = exponent or stop
  end
  return "1", stop
end

-- A doubled or escaped quote belongs to the string. A string without an end is one that the query closes.
local function read_string(text, at, reading)
  local quote, from = sub(text, at, at), at + 1
  for _ = 1, ESCAPES_MAX do
    local close = find(text, quote, from, true)
    if not close then break end
    if byte(text, close + 1) == byte(quote) and close > at + 1 then
      from = close + 2
    elseif byte(text, close - 1) == 92 and close - 1 > at then
      from = close + 1
    else
      return "s", close
    end
  end
  reading.open = true
  return "s", #text
end

local function read_line_comment(text, at)
  local line = find(text, "\n", at, true)
  if line and find(text, "%S", line) then return nil, line end
  return "c", #text
end

local function read_dash(text, at)
  if byte(text, at + 1) == 45 and not find(text, "^[%d(]", at + 2) then return read_line_comment(text, at) end
  return "+", at
end

-- MySQL runs what stands in /*! */; every other closed comment is white space (kind nil).
local function read_slash(text, at, reading)
  if byte(text, at + 1) ~= 42 then return "+", at end
  if byte(text, at + 2) == 33 then
    reading.hidden = reading.hidden + 1
    local _, stop = find(text, "^%d*", at + 3)
    return nil, stop
  end
  local _, close = find(text, "*/", at + 2, true)
  if not close then return "c", #text end
  reading.inner = reading.inner + 1
  return nil, close
end

local function read_star(text, at)
  if byte(text, at + 1) == 47 then return nil, at + 1 end
  return "*", at
end

local function read_variable(text, at)
  local _, stop = find(text, "^@@?[`'\"]?[%w_.$]*[`'\"]?", at)
  return "v", stop
end

local function read_backtick(text, at)
  return "w", find(text, "`", at + 1, true) or #text
end

local function read_bracket(text, at)
  local _, stop = find(text, "^%[[%a_][%w_ ]*%]", at)
  if not stop then return "?", at end
  if at > 1 and find(text, "^[%w_]", at - 1) then return nil, stop end
  return "w", stop
end

local function read_dollar(text, at)
  local _, open = find(text, "^%$[%a_]*%$", at)
  if not open then return "?", at end
  local _, close = find(text, sub(text, at, open), open + 1, true)
  return "s", close or #text
end

local function read_comparison(text, at)
  local _, stop = find(text, "^[<>=!~]+", at)
  local operator = sub(text, at, stop)
  if operator == "!" then return "!", stop end
  if operator == "~" or operator == "<<" or operator == ">>" then return "+", stop end
  return "=", stop
end

local function read_double(text, at)
  if byte(text, at + 1) == byte(text, at) then return "&", at + 1 end
  return "+", at
end

-- PostgreSQL's casts (::text) change nothing for judgement.
local function read_colon(text, at)
  local _, stop = find(text, "^::%s*[%a_]+", at)
  if stop then return nil, stop end
  _, stop = find(text, "^:=", at)
  if stop then return "=", stop end
  return "?", at
end

local function read_null(text, at)
  if at == #text then return "c", at end
  return nil, at
end

local function itself(text, at) return sub(text, at, at), at end
local function arithmetic(_, at) return "+", at end
local function other(_, at) return "?", at end

local READERS = {}
for code = 0, 255 do
  local char = string.char(code)
  READERS[code] = find(char, "[%a_\x80-\xff]") and read_word or find(char, "%d") and read_number or other
end
for char, reader in pairs({
  ["'"] = read_string, ['"'] = read_string, ["`"] = read_backtick, ["["] = read_bracket, ["$"] = read_dollar,
  ["-"] = read_dash, ["#"] = read_line_comment, ["/"] = read_slash, ["*"] = read_star, ["@"] = read_variable,
  ["<"] = read_comparison, [">"] = read_comparison, ["="] = read_comparison, ["!"] = read_comparison,
  ["~"] = read_comparison, ["|"] = read_double, ["&"] = read_double, [":"] = read_colon, ["\0"] = read_null,
  ["+"] = arithmetic, ["%"] = arithmetic, ["^"] = arithmetic, ["("] = itself, [")"] = itself, [","] = itself,
  [";"] = itself, ["."] = itself, ["{"] = itself, ["}"] = itself,
}) do READERS[byte(char)] = reader end

-- Reads at most `limit` tokens from byte `at` on.
function lexer.read(text, at, limit)
  local reading = { text = text, open = false, hidden = 0, inner = 0 }
  local kinds, texts, starts, count, steps = {}, {}, {}, 0, 0
  while count < limit and steps < 2 * limit do
    steps = steps + 1
    at = find(text, "[^%s\1-\31]", at)
    if not at then break end
    local kind, stop = READERS[byte(text, at)](text, at, reading)
    if kind then
      count = count + 1
      kinds[count], texts[count], starts[count] = kind, sub(text, at, stop), at
    end
    at = stop + 1
  end
  reading.kinds, reading.words, reading.starts = table.concat(kinds), texts, starts
  reading.stop = at or #text + 1
  return reading
end

-- The text of the tokens `first` to `last`.
function lexer.slice(reading, first, last)
  local starts = reading.starts
  return sub(reading.text, starts[first] or 1, (starts[last] or #reading.text) + #(reading.words[last] or "") - 1)
end

return lexer
