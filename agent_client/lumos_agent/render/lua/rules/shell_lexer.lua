-- Reads one word as a Unix or Windows shell would: quotes, escapes and empty expansions vanish.
local lexer = {}

local find, sub, match, gsub = string.find, string.sub, string.match, string.gsub

local WORD_MAX = 96
local PLAIN = "^[%w_./%-:~%*%?%[%],!=@%%]+"

-- The end of an expansion that yields nothing ($@, $*, $1, ${x}, $(), ``) at `at`; nil if there is none.
local function empty_expansion(text, at)
  local _, stop = find(text, "^%$[@*!#?_%-%d]", at)
  if stop then return stop end
  _, stop = find(text, "^%$%(%)", at)
  if stop then return stop end
  _, stop = find(text, "^``", at)
  if stop then return stop end
  if find(text, "^%${[%w_@*!]", at) and not find(text, "^%${ifs", at) then
    local close = find(text, "}", at, true)
    if close and close - at <= 24 then return close end
  end
end

-- The end and the content of a quoted piece without blanks at `at`.
local function quoted(text, at)
  local piece = match(text, "^'([%w_./%-:~%*%?]*)'", at) or match(text, '^"([%w_./%-:~%*%?]*)"', at)
  if piece then return at + #piece + 1, piece end
end

-- Returns the word without its disguise, the place behind it and whether it was disguised.
function lexer.word(text, at)
  local pieces, disguised = {}, false
  local limit, first = at + WORD_MAX, at
  while at <= #text and at < limit do
    local _, stop = find(text, PLAIN, at)
    local head = sub(text, at, at)
    local piece
    if stop then
      stop = math.min(stop, limit)
      piece = sub(text, at, stop)
    elseif head == "'" or head == '"' then
      stop, piece = quoted(text, at)
      disguised = disguised or stop ~= nil and (at > first or find(text, "^[%w/]", stop + 1) ~= nil)
    elseif find(text, "^\\[nr]%f[^%w]", at) then
      break
    elseif (head == "\\" or head == "^") and find(text, "^[%w./%-]", at + 1) then
      stop, piece, disguised = at + 1, sub(text, at + 1, at + 1), true
    elseif head == "$" or head == "`" then
      stop, piece = empty_expansion(text, at), ""
      disguised = disguised or stop ~= nil
    end
    if not stop then break end
    pieces[#pieces + 1] = piece
    at = stop + 1
  end
  return table.concat(pieces), at, disguised
end

-- The program a word names: without folder, version and suffix; and whether a folder was given.
function lexer.program(word)
  local folder, base = match(word, "^(.*[/\\])([^/\\]*)$")
  base = base or word
  base = match(base, "^(.-)%.exe$") or match(base, "^(.-)%.com$") or base
  return base, folder ~= nil and find(folder, "^[~.%w:]*[/\\]") ~= nil
end

-- What follows a command's name.
function lexer.argument(text, at)
  local _, empty = find(text, "^%$%w+%f[ \t]", at)
  if empty and not find(text, "^%$ifs", at) then at = empty + 1 end
  local _, blank = find(text, "^[ \t+]+", at)
  local _, ifs = find(text, "^%$ifs[%$%d]*", blank and blank + 1 or at)
  if not ifs then _, ifs = find(text, "^%${ifs[^}]*}", blank and blank + 1 or at) end
  if ifs then return "ifs", ifs + 1 end
  local next_at = (blank or at - 1) + 1
  if next_at > #text then return "end", next_at end
  if find(text, "^[;|&`\n\r)]", next_at) or find(text, "^\\[nr]", next_at) then return "separator", next_at end
  if find(text, "^<[< ]", next_at) and (blank or find(text, "^<<", next_at)) then return "redirect", next_at end
  if find(text, "^>", next_at) and (blank or find(text, "^>+&?[%w/.~]", next_at)) then return "redirect", next_at end
  if find(text, "^['\"}]+%s*$", at) then return "end", next_at end
  if find(text, "^['\"]+%s*[;|&`\n]", at) then return "separator", next_at end
  if not blank then return "glued", at end
  if find(text, "^%-%-?[%a]", next_at) or find(text, "^%+%a ", next_at) then return "option", next_at end
  if find(text, "^/[%w?]%f[^%w?]", next_at) then return "switch", next_at end
  if find(text, "^[~.]*/[%w_.*?%[%-$']", next_at) or find(text, "^%a:[\\/%s\"]", next_at)
    or find(text, "^%a:$", next_at) or find(text, "^%a%a=/", next_at)
    or find(text, "^\\\\%w", next_at)
    or find(text, "^%%%a+%%", next_at) or find(text, "^/ ?%-?%a*$", next_at) then
    return "path", next_at
  end
  if find(text, "^%a+://", next_at) then return "url", next_at end
  if find(text, "^[$`]", next_at) then return "expansion", next_at end
  if find(text, "^['\"]", next_at) then return "quoted", next_at end
  if find(text, "^%d+%.%d+%.%d+%.%d+", next_at) then return "address", next_at end
  if find(text, "^%d", next_at) then return "number", next_at end
  if find(text, "^[%w_/.-]+%.%a%a%a?%a?%f[%W]", next_at) then return "file", next_at end
  return "word", next_at
end

-- Whether a path's wildcards stand for a folder of a Unix system: /???/c?t, /bi[n]/sh.
function lexer.is_hidden_path(path, folders)
  path = gsub(gsub(path, "%[(!?.)/+%]", "[%1]"), "//+", "/")
  local first, second = match(path, "^/([^/]+)/([^/]+)")
  if not first then
    first = match(path, "^/([^/]+)$")
    if not first or not find(first, "%[") then return false end
  end
  local is_first_hidden = find(first, "[%?%[%*]") ~= nil
  if first == "usr" and second then
    if not find(second, "[%?%[]") then return false end
  elseif not is_first_hidden then
    for _, folder in ipairs(folders) do
      if first == folder then return second ~= nil and find(second, "[%?%[]!?[%w%?]") ~= nil end
    end
    return false
  end
  local target = first == "usr" and second or first
  if find(target, "^%*+$") or #target > 24 then return false end
  local pattern = gsub(target, "[%]%[?*]", { ["?"] = ".", ["*"] = ".*" })
  pattern = gsub(gsub(pattern, "%[!", "[^"), "%%", "%%%%")
  if find(pattern, "%[[^%]]*$") or find(pattern, "%[%^?%]") then return false end
  for _, folder in ipairs(folders) do
    if find(folder, "^" .. pattern .. "$") then return true end
  end
  return false
end

return lexer
