-- PHP code and PHP's stream wrappers, by structure: tags with code, calls of dangerous functions with arguments,
-- variables that are called, serialized objects.
local names = require("rules.php_names")

local find, sub, match = string.find, string.sub, string.match

local MATCHED_BYTES = 128

local RULES = {
  render = { id = "php-render-array", score = 6, why = "A parameter's name sets a property of Drupal's pages, which call functions." },
  tag = { id = "php-tag", score = 8, why = "An opening PHP tag is followed by code." },
  open = { id = "php-open", score = 4, why = "A bare opening PHP tag or its bracket form." },
  wrapper = { id = "php-wrapper", score = 8,
    why = "A stream wrapper that only PHP knows: php://, phar://, expect://." },
  superglobal = { id = "php-superglobal", score = 8, why = "Reads one of PHP's superglobal arrays." },
  object = { id = "php-object", score = 9, why = "A serialized PHP object." },
  exec = { id = "php-exec", score = 8, why = "Calls a function that runs commands or code with an argument." },
  call = { id = "php-call", score = 4, why = "The value is a call of a function of PHP's library." },
  info = { id = "php-info", score = 6, why = "Calls phpinfo() or another function that tells about the system." },
  variable = { id = "php-variable-call", score = 6, why = "A variable's or string's content is called as a function." },
  interpolation = { id = "php-interpolation", score = 8,
    why = "A function is called inside ${ } or {$ } of a PHP string." },
  modifier = { id = "php-modifier", score = 7, why = "A regular expression with the modifier e runs code." },
  setting = { id = "php-setting", score = 6, why = "Sets an option of PHP's configuration." },
  session = { id = "php-session-file", score = 5, why = "An upload is named like PHP's session files." },
}

local SUPERGLOBALS = { "$_get", "$_post", "$_request", "$_cookie", "$_server", "$_files", "$_env", "$_session",
  "$globals", "$http_post_vars",
  "$http_raw_post_data", "$argv" }
local WRAPPERS = { "php://", "phar://", "expect://", "glob://", "ogg://", "rar://", "ssh2.", "zip://",
  "compress.zlib://",
  "compress.bzip2://", "zlib://", "bzip2://" }

local function has(text, mark)
  return find(text, mark, 1, true) ~= nil
end

local function snippet(text, at)
  return sub(text, at, at + MATCHED_BYTES - 1)
end

local function judge_tags(value, report)
  local text = value.text
  local at = find(text, "<?", 1, true)
  local tries = 0
  while at and tries < 16 do
    if find(text, "^<%?php%f[^%w]%s*[^%s]", at) or find(text, "^<%?=%s*[%w$\"'`(\\][%w%s$\"'`(;_,.-]*[;(?]", at)
      or find(text, "^<%?xml%s*:%s*%a", at) or find(text, "^<%?%s+[%a_]*%s*[$\"'(;]", at)
      or find(text, "^<%?%s*[%w_]+%(", at) then
      return report(RULES.tag, snippet(text, at))
    end
    if #text <= 64 and (find(text, "^<%?%s*$", at) or find(text, "^<%?php%s*$", at)) then
      return report(RULES.open, snippet(text, at))
    end
    at, tries = find(text, "<?", at + 2, true), tries + 1
  end
  at = has(text, "php") and find(text, "[%[{][/\\]?php[%]}]")
  if at then return report(RULES.open, snippet(text, at)) end
  at = has(text, "<script") and find(text, "<script%s+language%s*=%s*[\"']?php")
  if at then report(RULES.tag, snippet(text, at)) end
end

local function judge_wrappers(value, report)
  local text = value.text
  if not find(text, "://", 1, true) and not find(text, "data:", 1, true) then return end
  for _, wrapper in ipairs(WRAPPERS) do
    local at = find(text, wrapper, 1, true)
    if at and (at == 1 or find(text, "^[^%w.]", at - 1)) then return report(RULES.wrapper, snippet(text, at)) end
  end
  local at = find(text, "data:text/%a+;base64,pd9", 1) or find(text, "data:,<?", 1, true) or find(text, "data://", 1,
    true)
  if at then report(RULES.wrapper, snippet(text, at)) end
end

local function judge_globals(value, report)
  local text = value.text
  for _, name in ipairs(SUPERGLOBALS) do
    local at = find(text, name, 1, true)
    if at and find(text, "^%s*[%[{;=,)]", at + #name) or at and #name == #text then
      return report(RULES.superglobal, snippet(text, at))
    end
  end
end

-- Whether the parenthesis at `at` holds what a call of `name` in PHP would hold, and not the prose of "exec (the
-- boss)".
local function is_argument(text, at)
  return find(text, "^%(%s*[\"'`$@\\(]", at) or find(text, "^%(%s*[%a_][%w_]*%s*%(", at)
    or find(text, "^%(%s*%d+%s*[,)]", at)
    or find(text, "^%(%s*[%a_]+%s*%)%s*;", at) or find(text, "^%(%s*[%w_]+%s*,", at)
end

local function skip_blank(text, at)
  local _, stop = find(text, "^[%s+]*", at)
  at = stop + 1
  if find(text, "^/%*", at) then
    local _, close = find(text, "*/", at + 2, true)
    if close then return skip_blank(text, close + 1) end
  elseif find(text, "^[#]", at) or find(text, "^//", at) then
    local line = find(text, "\n", at, true)
    if line then return skip_blank(text, line + 1) end
  end
  return at
end

local CALLS_MAX = 400

local function library_name(name)
  local prefix = match(name, "^(%w+)_")
  return names.words[name] or names.exec[name] or names.info[name] or prefix ~= nil and names.prefixes[prefix] and #name <= 64
end

local function judge_calls(value, report)
  local text, at = value.text, 1
  for _ = 1, CALLS_MAX do
    local open = find(text, "(", at, true)
    if not open then return end
    local tail = sub(text, math.max(1, open - 40), open - 1)
    local before, name = match(tail, "([^%w_]?)%f[%w_]([%a_][%w_]*)[%s+]*$")
    if name and before ~= "." and (before ~= ">" or not find(tail, "%->" .. name)) then
      if names.info[name] and (find(text, "^%(%s*%)", open) or is_argument(text, open)) then
        return report(RULES.info, snippet(text, open - math.min(#tail, #name)))
      end
      if names.exec[name] and is_argument(text, open) and (name ~= "exec" and name ~= "eval" and name ~= "assert"
        and name ~= "include"
        or find(text, "^%([\"'`]%s*[%w/\\.-]+[%s\"'`]", open) or find(text, "^%([%s]*[%w_@$]+%(", open)
        or find(text, "^%(%s*%$", open)) then
        return report(RULES.exec, snippet(text, open - math.min(#tail, #name)))
      end
    end
    at = open + 1
  end
end

-- The whole value is `name(…)` and nothing else; a library function of PHP is named.
local function judge_whole_call(value, report)
  local text = value.text
  local _, stop, name = find(text, "^[%s;'\"@]*([%a_][%w_]*)")
  if not name or not library_name(name) then return end
  local open = skip_blank(text, stop + 1)
  if sub(text, open, open) ~= "(" then return end
  local rest = sub(text, open)
  if find(rest, "^%([%w%s_$,.'\"/#\n]*%)?[%s;]*$") and #rest <= 200 and not find(rest, "%w%s+%w") then
    report(RULES.call, snippet(text, 1))
  end
end

local function judge_variables(value, report)
  local text = value.text
  local at, tries = find(text, "$", 1, true), 0
  while at and tries < 64 do
    local _, stop = find(text, "^%$%$?{?[%a_][%w_]*}?", at)
    if stop and (sub(text, stop, stop) == "}" or sub(text, at + 1, at + 1) ~= "{") then
      local after, indexed = stop + 1, false
      for _ = 1, 6 do
        after = skip_blank(text, after)
        local close = find(text, "^[%[{]", after) and find(text, "[%]}]", after + 1)
        if not close or close - after > 40 then break end
        after, indexed = close + 1, true
      end
      if sub(text, after, after) == "(" and find(text, "^%([%s\"'$%w/]*%)", after) and sub(text, stop, stop) ~= "}"
        and (indexed or sub(text, stop + 1, stop + 1) ~= "(" or #text <= 80 or find(text, "^%$%w*_", at))
        and value.place ~= "body" then
        return report(RULES.variable, snippet(text, at))
      end
      if find(text, "^%${@?[%a_]+%s*%(", at) or find(text, "^%${%$?[%a_]+}", at) and find(text, "^%(", stop + 1) then
        return report(RULES.interpolation, snippet(text, at))
      end
    end
    if find(text, "^%$%s?{['\"]", at) or find(text, "^%${@%$?%a+}%(", at) then
      return report(RULES.interpolation, snippet(text, at))
    end
    if find(text, "^%${@?[%a_][%w_]*%s*%([%s\"'`%w]", at) or at > 1 and find(text, "^{%${?[%a_][%w_]*%(", at - 1) then
      return report(RULES.interpolation, snippet(text, at))
    end
    at, tries = find(text, "$", at + 1, true), tries + 1
  end
end

-- "system"("id"), [system][0]("id"), (string)system("id")
local function judge_strings(value, report)
  local text = value.text
  if #text > 512 then return end
  local at = find(text, "^[%s(@]*[\"'][%a_]+[\"']%s*%)?%s*%([^)]*%)[;%s]*$") and 1
    or find(text, "[%[{]%s*[\"']?[%a_]+[\"']?%s*[%]}]%s*[%[{]%s*[%d/*%a%s]-%d*%s*[%]}]%s*%(")
    or find(text, "%(%s*string%s*%)%s*[%a{\"']")
  if #text <= 120 then
    local code = string.gsub(text, "/%*[^*]*%*/", "")
    code = string.gsub(code, "[%s]+", "")
    at = at or find(code, "^%(+[%a_.\"'%(%)]+%)%([%a_\"'/]*%);?$") and find(code, "[\"'._;]") and 1
      or find(code, "^%(?%[[%a_]+%]%[%d%]%)?[{%d}]*%([%a\"']") and 1
  end
  if at then report(RULES.variable, snippet(text, at)) end
end

local function judge_objects(value, report)
  local text = value.text
  local at = has(text, ":\"") and find(text, "[^%w]?[oc]:%+?%d+:\"[%w_\\]+\":%+?%d+:{")
  if at then return report(RULES.object, snippet(text, at)) end
  at = has(text, ":{") and find(text, "a:%d+:{[is]:%d+[:;]")
  if at and find(text, "[oc]:%d+:\"", at) then report(RULES.object, snippet(text, at)) end
end

local function judge_settings(value, report)
  local text = value.text
  local at, stop, name, option
  if #text <= 200 then at, stop, name, option = find(text, "%f[%w_]([%a_%d]+)%.?([%a_]*)%s*=%s*[%w/\"'.]") end
  if at and names.settings[name] and (find(name, "_", 1, true) or option ~= "") or at and names.setting_groups[name]
    and find(option, "_", 1, true) then
    return report(RULES.setting, sub(text, at, math.min(stop + 40, at + 100)))
  end
  at = find(text, "php_admin_value", 1, true) or find(text, "php_value", 1, true)
  if at then report(RULES.setting, snippet(text, at)) end
end

local function judge(value, report)
  local text = value.text
  if value.place == "filename" or find(value.name, "filename", 1, true) then
    if find(text, "^sess_[%w,%-]+$") then report(RULES.session, snippet(text, 1)) end
  end
  judge_tags(value, report)
  if value.place == "document" then return end
  if value.place == "name" and find(text, "%[#[%l_]+%]") then report(RULES.render, snippet(text, 1)) end
  judge_wrappers(value, report)
  if find(text, "$", 1, true) then
    judge_globals(value, report)
    judge_variables(value, report)
  end
  if find(text, "(", 1, true) then
    judge_calls(value, report)
    judge_whole_call(value, report)
    judge_strings(value, report)
  end
  if find(text, ":", 1, true) then judge_objects(value, report) end
  if find(text, "=", 1, true) or find(text, "php_", 1, true) then judge_settings(value, report) end
  local _, stop = find(text, "^([/#~|@])[^\n]+%1[imsxu]*e[imsxu]*$")
  if stop and find(text, "[%.%*%+%(]") and not find(text, "[%s?&=]") then report(RULES.modifier, snippet(text, 1)) end
end

local function gate(value)
  local text = value.text
  return find(text, "[<$(:={%[]") ~= nil or value.place == "filename" or find(text, "^[/#~|@]") ~= nil
    or find(text, "^sess_") ~= nil
    or find(text, "php_", 1, true) ~= nil
end

-- `documents`: of an uploaded text only the tags are judged.
return {
  group = "php", rules = RULES, gate = gate, judge = judge, documents = true,
  about = "PHP code and the stream wrappers of PHP.",
}
