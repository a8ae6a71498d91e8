-- Signs of a shell that need no command's place: $IFS, Shellshock, hidden paths, brace lists, batch loops.
local lexer = require("rules.shell_lexer")
local names = require("rules.shell_names")

local marks = {}

local find, sub, match = string.find, string.sub, string.match

local MATCHED_BYTES = 128

local function has(text, mark)
  return find(text, mark, 1, true) ~= nil
end

local function snippet(text, at)
  return sub(text, at, at + MATCHED_BYTES - 1)
end

local function judge_globs(value, report, rules)
  local text, at = value.text, 1
  if not has(text, "?") and not has(text, "[") then return end
  for _ = 1, 40 do
    local wild, stop = find(text, "[?%[][%w?*%[%]!/%-]*", at)
    if not wild then return end
    local head = match(sub(text, math.max(1, wild - 32), wild - 1), "/[%w?*%[%]!/%-]*$")
    local first = head and wild - #head or 0
    local path = sub(text, first, math.min(stop, first + 60))
    if not head then
      path = ""
    elseif (first == 1 or find(text, "^[%s\"'=;|&`,<>(]", first - 1))
      and (lexer.is_hidden_path(path, names.folders) or first > 1 and find(text, "^[;|&`]/[%w/]*bin/", first - 1)) then
      return report(rules.glob, path)
    end
    at = stop + 1
  end
end

local function judge_batch(value, report, rules)
  local text = value.text
  local at = has(text, "for") and has(text, "%") and find(text, "%f[%w]for%s+[/%%]")
  if at and find(sub(text, at, at + 160), "^for%s+[^%%]*%%%%?%S+%s+in%s*%(") then
    return report(rules.loop, snippet(text, at))
  end
  if not has(text, "if") then return end
  at = find(text, "^%s*if[%s/]") and 1 or find(text, "[&|;%(]%s*if[%s/]")
  if not at then return end
  local rest = match(sub(text, at, at + 120), "^[&|;(%s]*if%s*(.*)$") or ""
  rest = string.gsub(rest, "^/i%s+", "")
  rest = string.gsub(rest, "^not%s+", "")
  if find(rest, "===", 1, true) then return end
  if find(rest, "^cmdextversion %d") or find(rest, "^exist%s+%S+%s*%S") or find(rest, "^defined%s+%S+%s*%S")
    or find(rest, "^errorlevel%s+%d")
    or find(rest, "^[\"%w_%%!(][^\n]-%s+[lgne][seqt][sqtru]?%s+[\"%d%%]")
    or find(rest, "^[^%s(]+%s*==%s*[\"%w]%S*%s+[%(@%a]") and not find(rest, "%sthen%f[%W]")
    or find(rest, "^[\"%%!{][^\n]-==%s*[\"%%!%w{]") or find(rest, "^%([^\n]-==[^\n]-%)%s+%a") then
    report(rules.loop, snippet(text, at))
  end
end

local function judge_marks(value, report, rules)
  local text = value.text
  local at = find(text, "()", 1, true)
  if at then
    if find(text, "^%(%)%s*{%s*[:_%d]%s*;%s*}%s*[;>]", at) or find(text, "^%s*%(%)%s+{")
      or find(text, "^%s*%(%)%s*{%s*[:_%d]?%s*;?%s*}") then
      return report(rules.shellshock, snippet(text, at))
    end
    local name, body = match(sub(text, math.max(1, at - 24), at + 64), "([%w_:.]+)%(%)%s*{%s*([%w_:.]+)")
    if name and name == body and find(text, "[|&]%s*" .. string.gsub(name, "[.]", "%%."), at)
      then return report(rules.bomb, snippet(text, at)) end
  end
  at = find(text, "$ifs", 1, true) or find(text, "${ifs", 1, true)
  if at then report(rules.blank, snippet(text, at)) end
  at = find(text, "/dev/tcp/", 1, true) or find(text, "/dev/udp/", 1, true) or has(text, "sh")
    and find(sub(text, -160), "| *[/%w]*sh%f[%W][^%w]*$")
  if at then report(rules.socket, snippet(text, at)) end
  at = has(text, "/bin$") and find(text, "/bin%$%w+/") or has(text, "/etc$") and find(text, "/etc%$%w+/")
  if at then report(rules.evasion, snippet(text, at)) end
  at = find(text, "$((", 1, true)
  if at and find(text, "^%$%(%([%s%w%+%-%*/%%]+%)%)", at) and (find(text, "%$%([^(]") or find(text, "[;|&`]")) then
    report(rules.arithmetic, snippet(text, at))
  end
  at = has(text, "{") and has(text, ",") and find(text, "{[%w/]+,[%-/h\"'$]")
  if at then
    local word = match(text, "^{([%w/]+),", at)
    local program = lexer.program(word)
    if (names.plain[program] or names.english[program]) and not find(text, "^{[%w/]+,h[^t]", at) then
      report(rules.brace, snippet(text, at))
    end
  end
end

-- A variable is given a value and then stands where a program should: a=cat;$a x
local function judge_variables(value, report, rules)
  local text, at = value.text, 1
  for _ = 1, 16 do
    local first, stop, name = find(text, "%f[;&|][;&|]+%s*%$([%w_]+)", at)
    if not first then return end
    local set = find(text, "%f[%w_$]" .. name .. "=")
    if set and set < first and first - set < 200 then return report(rules.variable, snippet(text, first)) end
    at = stop + 1
  end
end

-- {,program,argument} and l{s,-la}: a brace list that a shell expands to a command.
local function judge_lists(value, report, rules)
  local text = value.text
  local at = find(text, "{,%a+,[%w/#%-]")
  if at then return report(rules.brace, snippet(text, at)) end
  local _, head, one, tail
  at, _, head, one, tail = find(text, "(%a*){(%a+),%-?%a+}(%a*)")
  if at and head .. tail ~= "" then
    local program = head .. one .. tail
    if names.plain[program] or names.english[program] then report(rules.brace, snippet(text, at)) end
  end
end

local OPTIONS = { "-oproxycommand=", "--use-compress-program=", "--checkpoint-action=", "-wrapper ", "--to-command=",
  "--upload-pack=" }
local VARIABLES = { "%comspec%", "%systemroot%", "%windir%", "$env:", "%programfiles%", "%appdata%" }

local function judge_words(value, report, rules)
  local text = value.text
  if find(text, "=", 1, true) and find(text, "$", 1, true) then judge_variables(value, report, rules) end
  if find(text, ",", 1, true) and find(text, "{", 1, true) then judge_lists(value, report, rules) end
  local at = has(text, "alias") and find(text, "%f[%w]alias%s+%-?[%w.'\"+]")
  if at and find(text, "^alias%s+[%-+]?%a?%s*[%w.'\"]+=", at) then report(rules.alias, snippet(text, at)) end
  for _, option in ipairs(OPTIONS) do
    at = find(text, option, 1, true)
    if at then return report(rules.argument, snippet(text, at)) end
  end
  for _, variable in ipairs(VARIABLES) do
    at = find(text, variable, 1, true)
    if at and find(text, "^[\\/]?%w", at + #variable) then return report(rules.environment, snippet(text, at)) end
  end
end

-- Signs that suffice whatever else the value holds. `rules` is the class's table.
function marks.strong(value, report, rules)
  judge_marks(value, report, rules)
end

-- Signs to look for when no command was found.
function marks.other(value, report, rules)
  judge_globs(value, report, rules)
  judge_batch(value, report, rules)
  judge_words(value, report, rules)
end

return marks
