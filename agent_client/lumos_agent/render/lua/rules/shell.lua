-- Command injection by structure: where a shell would start a command (the start, behind a separator, in a
-- substitution) a program's name, read as a shell reads it, with arguments of a command's shape.
local lexer = require("rules.shell_lexer")
local marks = require("rules.shell_marks")
local names = require("rules.shell_names")

local find, sub, match, byte = string.find, string.sub, string.match, string.byte

-- How many separators are looked at, and behind how many of them a command is read.
local STARTS_MAX = 3000
local TRIES_MAX = 300
local MATCHED_BYTES = 128

local RULES = {
  command = { id = "shell-command", score = 8,
    why = "A separator is followed by a program with arguments of a command." },
  lone = { id = "shell-lone", score = 5, why = "A separator is followed by the name of a program and nothing else." },
  substitution = { id = "shell-substitution", score = 8,
    why = "A command stands in backticks or $( ) to be run in place." },
  start = { id = "shell-start", score = 4, why = "The value begins like a command line: a program with an option." },
  target = { id = "shell-target", score = 8,
    why = "A command line names a system path, another shell or a remote file." },
  evasion = { id = "shell-evasion", score = 8,
    why = "A program's name is disguised with quotes, escapes or empty variables." },
  blank = { id = "shell-ifs", score = 8,
    why = "$IFS stands for a blank, as only someone who must not type blanks writes." },
  glob = { id = "shell-glob", score = 7, why = "Wildcards stand for the letters of a system folder." },
  brace = { id = "shell-brace", score = 7, why = "A brace list {program,argument} replaces the blanks of a command." },
  shellshock = { id = "shell-shellshock", score = 10,
    why = "An empty function definition as in the Shellshock attack." },
  socket = { id = "shell-socket", score = 8,
    why = "Opens a network connection through the shell: /dev/tcp, nc -e or a piped download." },
  loop = { id = "shell-batch", score = 6, why = "A loop or condition of the Windows command interpreter." },
  arithmetic = { id = "shell-arithmetic", score = 5, why = "Shell arithmetic $(( )) next to a command substitution." },
  bomb = { id = "shell-bomb", score = 8, why = "A function that calls itself twice, as a fork bomb does." },
  alias = { id = "shell-alias", score = 5, why = "Gives a program another name with alias." },
  variable = { id = "shell-variable", score = 6, why = "A variable is set and then run as a program." },
  cmdlet = { id = "shell-cmdlet", score = 7, why = "Calls a PowerShell cmdlet with parameters." },
  environment = { id = "shell-environment", score = 6,
    why = "A variable of the system's environment stands for a path or interpreter." },
  argument = { id = "shell-option", score = 6, why = "An option that makes an honest program run another one." },
}

-- What reads as a command's argument behind any program, and what suffices only behind one that is no English word.
local SHAPED = { option = true, path = true, redirect = true, expansion = true, address = true }
local LOOSE = { url = true, quoted = true, number = true, file = true, switch = true, ["end"] = true, separator = true }
local OPENING = { url = true, quoted = true, switch = true }

local SYSTEM = { "/etc", "/bin", "/proc", "/dev/", "/tmp/", "/var/", "/usr/", "/root", "/home/", "c:\\", "c:/",
  "%systemroot%" }

local function snippet(text, at)
  return sub(text, at, at + MATCHED_BYTES - 1)
end

local function has_target(text, at)
  local rest = sub(text, at, at + 200)
  if find(rest, "%a+://") then return true end
  for _, path in ipairs(SYSTEM) do
    if find(rest, path, 1, true) then return true end
  end
  return find(rest, "[|;&] *[%w/]*sh%f[%W]") ~= nil or find(rest, "%-e +/?[%w/]*sh%f[%W]") ~= nil
end

local function is_cmdlet(program)
  local verb, noun = match(program, "^(%a+)%-(%a+)$")
  return verb ~= nil and names.verbs[verb] and names.nouns[noun] or program == "iex" or program == "iwr"
    or program == "iwmi"
end

-- Reads the command that begins at `at`: its kind, what its argument is, where that stands.
local function command_at(text, at)
  local _, variable = find(text, "^%$%w+[ \t]+", at)
  local first, stop, disguised = lexer.word(text, variable and variable + 1 or at)
  for _ = 1, 3 do
    if not names.prefixes[first] then break end
    local kind, next_at = lexer.argument(text, stop)
    local word, after, is_odd = lexer.word(text, next_at)
    local program = lexer.program(word)
    if kind ~= "word" and kind ~= "path" or not (names.plain[program] or kind == "path"
      and names.english[program]) then break end
    first, stop, disguised = word, after, disguised or is_odd
  end
  if first == "" or find(first, "[=?,@%%]") or find(first, "%w%w:") then return nil end
  local program, has_folder = lexer.program(first)
  if not names.plain[program] then program = match(program, "^(%a%a%a+)[%d.]+$") or program end
  local kind = names.plain[program] and "plain" or names.english[program] and "english" or is_cmdlet(program)
    and "cmdlet"
  if variable and not kind and find(first, "^%-%a") then kind, program, stop = "plain", "$", variable end
  return kind, program, stop, disguised or variable ~= nil and kind == "plain", has_folder, first
end

local function is_bin(word)
  return find(word, "^[.~]*/?[%w/]*bin/[%w.%-]+$") ~= nil or find(word, "^%a:[/\\].*%.exe$") ~= nil
end

local function second_word(text, at)
  return match(text, "^[^%s;|&`)]+", at) or ""
end

-- The rule that a command at `at` breaks; `opener` is what made a shell start one there ("" at the value's start).
local function judge_command(text, at, opener)
  local kind, program, stop, disguised, has_folder, word = command_at(text, at)
  if not kind then
    if word and opener ~= "" and is_bin(word) and lexer.argument(text, stop) ~= "glued" then return RULES.command end
    return nil
  end
  local argument, next_at = lexer.argument(text, stop)
  if argument == "glued" then return nil end
  if disguised and #program >= 2 then return RULES.evasion end
  if argument == "ifs" then return RULES.blank end
  local seconds = names.seconds[program]
  local is_known = seconds ~= nil and seconds[second_word(text, next_at)] == true
  if kind == "cmdlet" then return (opener ~= "" or SHAPED[argument] or OPENING[argument]) and RULES.cmdlet or nil end
  local is_shaped = SHAPED[argument] or is_known or has_folder and argument ~= "word" and is_bin(word)
  if opener == "" then
    if argument == "end" then return is_bin(word) and RULES.target or nil end
    if not is_shaped and not (names.loud[program] and OPENING[argument]) then return nil end
    if has_target(text, stop) and (kind == "plain" or argument == "path" or argument == "option")
      then return RULES.target end
    if kind == "plain" or is_bin(word) or find(text, "^%-%-?%a[%w-]*=?[^ ]*$", next_at)
      or find(text, "^/[%w/._%-]+%s*$", next_at) then
      return RULES.start
    end
    return nil
  end
  if is_shaped and (kind == "plain" or argument == "option" or #program > 1 and not (opener == "\n"
    and argument == "redirect")) then
    return RULES.command
  end
  if kind == "plain" and LOOSE[argument] then
    return (argument == "end" or argument == "separator") and RULES.lone or RULES.command
  end
  return nil, kind, program, argument
end

local SHORT = { id = true, dir = true, ps = true, set = true, arch = true, env = true, ver = true, who = true }

local function is_substitution(opener)
  return opener == "`" or opener == "$("
end

-- The rule for a program whose name is also an English word.
local function judge_english(text, at, opener, program, argument)
  local is_last = argument == "end" or argument == "separator"
  if is_substitution(opener) then
    if program == "echo" or argument == "number" or argument == "quoted" and opener == "$(" then
      return RULES.substitution
    end
    if argument == "separator" and find(text, opener == "`" and "^%a+`" or "^%a+%)", at)
      and (opener == "$(" or find(text, "^[\"']?`%a+`[\"']?$") or find(text, "[=;|&({]`%a+`")) then
      return RULES.substitution
    end
  elseif argument == "number" and (program == "sleep" or program == "timeout") then
    return RULES.command
  elseif is_last and SHORT[program] and #text <= 4096 and (find(text, "^[\"' ]*[;|&\\]")
    or find(text, "[;|&][\"' ]*$") or find(text, "^[\"' ]*\n%a+[\"' ]*$")) then
    return RULES.lone
  elseif program == "echo" and argument ~= "end"
    and (opener == "&&" or opener == "||" or find(sub(text, at, at + 200), "[;|&>`]")) then
    return RULES.command
  elseif (argument == "quoted" or argument == "file") and (opener == "&&" or opener == "||" or opener == "|") then
    return RULES.command
  end
end

-- Rates one start and reports; true when nothing more need be looked for.
local function try(value, at, opener, report)
  local text = value.text
  local rule, kind, program, argument = judge_command(text, at, opener)
  if not rule and kind == "english" then rule = judge_english(text, at, opener, program, argument) end
  if not rule then return false end
  if is_substitution(opener) and (rule == RULES.command or rule == RULES.lone) then
    local around = sub(text, math.max(1, at - 3), at + 80)
    if opener == "`" and find(around, "^[%w,.:] `[^`]+`") then return false end -- Markdown
    rule = RULES.substitution
  end
  report(rule, snippet(text, math.max(at - #opener, 1)))
  return true
end

local DISGUISES = "^[/\\'\"$`^:~?*%[]"

-- Cheap: a known name stands at `at`, or a word that is spelled in a way that needs the lexer.
local function may_be_command(text, at)
  local _, stop = find(text, "^[%w_.%-]+", at)
  if find(text, DISGUISES, stop and stop + 1 or at) then return true end
  if not stop or stop - at > 32 then return false end
  local word = sub(text, at, stop)
  if names.plain[word] or names.english[word] or names.prefixes[word] then return true end
  return find(word, "[%d.%-]") ~= nil and (find(word, "^%a+%-%a+$") ~= nil or names.plain[match(word, "^%a+")] == true)
end

-- Where commands start: behind a separator or inside a substitution. A run of separators counts once.
local function starts(value, report)
  local text, at, tries = value.text, 1, 0
  for _ = 1, STARTS_MAX do
    local first, last = find(text, "[;|&`\n\r(]+", at)
    if not first or tries == TRIES_MAX then return end
    local opener = sub(text, first, last)
    at = last + 1
    local head = byte(opener, -1)
    if head == 40 then -- "(": only as $( <( >(
      opener = find(text, "^[$<>]%(", last - 1) and "$(" or nil
    elseif head == 96 then
      opener = "`"
    elseif #opener > 2 then
      opener = sub(opener, 1, 2)
    end
    if opener then
      local begin = find(text, "[^ \t\n\r@!{+]", at)
      if begin and find(text, "^[\"']", begin) and not find(text, "^([\"'])[%w./%-]+%1[ \t]", begin) then
        begin = find(text, "[^ \t\"']", begin)
      end
      if not begin then return end
      if begin - at <= 16 and may_be_command(text, begin) then
        tries = tries + 1
        if try(value, begin, opener, report) then return end
      end
    end
  end
end

local function judge_start(value, report)
  local text = value.text
  local begin = find(text, "[^%s\"'`({;|&@]")
  if not begin or begin > 12 then return end
  if find(text, "^[\"')}%s]*\\n", 1) then -- a line break that arrives as the two characters \n
    local _, stop = find(text, "^[\"')}%s]*\\n%s*", 1)
    if try(value, stop + 1, ";", report) then return end
  end
  local _, stop = find(text, "^%l[%w_]*=", begin)
  if stop and try(value, stop + 1, "", report) then return end
  if try(value, begin, "", report) then return end
end

-- Headers that browsers fill with ";" and "(" hold no command at their start.
local function gate(value)
  local place = value.place
  if place == "segment" and not find(value.text, "[;|&`$\n ]") then return false end
  return find(value.text, "[;|&`$\n\r (){}\\?%[%%=]") ~= nil or find(value.text, "bin/", 1, true) ~= nil
end

local function judge(value, report)
  local found = false
  local function note(rule, matched)
    found = true
    report(rule, matched)
  end
  marks.strong(value, note, RULES)
  if not found then judge_start(value, note) end
  if not found then starts(value, note) end
  if not found then marks.other(value, note, RULES) end
end

return {
  group = "shell", rules = RULES, gate = gate, judge = judge, words = true,
  about = "Commands for a Unix or Windows shell.",
}
