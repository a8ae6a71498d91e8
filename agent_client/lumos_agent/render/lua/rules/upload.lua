-- Names of uploaded files that a web server would run or obey.
local find, sub, match, gsub = string.find, string.sub, string.match, string.gsub

local MATCHED_BYTES = 128

local RULES = {
  program = { id = "upload-program", score = 5,
    why = "The uploaded file's name ends like a program that web servers run (.php, .jsp, .aspx)." },
  disguised = { id = "upload-disguised", score = 8,
    why = "A program's ending is followed by a null byte, blank, dot or second ending." },
  control = { id = "upload-control", score = 7,
    why = "The uploaded file is named like one that changes the server's settings (.htaccess, web.config)." },
  secret = { id = "upload-secret", score = 5,
    why = "The file's name is one of an application's configuration or key files." },
}

local function set(text)
  local result = {}
  for word in string.gmatch(text, "%S+") do result[word] = true end
  return result
end

local PROGRAMS = set([[
php php2 php3 php4 php5 php6 php7 php8 pht phtml phtm phar phps pgif shtml jsp jspx jspf jsw jsv jspa asp aspx asa
asax ascx ashx asmx cer cshtml
vbhtml cfm cfml cfc cgi war
]])
local CONTROL = set(".htaccess .htpasswd web.config .user.ini .htgroup")
local SECRETS = set([[
.boto .bashrc .bash_history .ssh .pgpass .netrc wp-config.php settings.php wp-config-php.bak localsettings.php
configuration.php .my.cnf acpi mtrr
]])

local function ending(name)
  return match(name, "%.%s*([%w]+)$")
end

local function judge(value, report)
  if #value.text > 4096 then return end
  local name = match(value.text, "^.*[/\\](.*)$") or value.text
  local shown = sub(value.text, 1, MATCHED_BYTES)
  if name == "" or #name > 255 then return end
  if CONTROL[name] then return report(RULES.control, shown) end
  if SECRETS[name] then return report(RULES.secret, shown) end
  local trimmed = gsub(gsub(name, "::%$%w+$", ""), "[%s.\0]+$", "")
  local last = ending(trimmed)
  if last and PROGRAMS[match(last, "^(php)%d+$") or last] then
    local is_odd = trimmed ~= name or find(trimmed, "%.%s+%w+$") or find(trimmed, "\0", 1, true)
    return report(is_odd and RULES.disguised or RULES.program, shown)
  end
  for inner, after in string.gmatch(name, "%.%s*(%w+)()") do
    if PROGRAMS[inner] and find(name, "^[%s\0;:/]", after) then return report(RULES.disguised, shown) end
    if PROGRAMS[inner] and inner ~= "cgi" and inner ~= "war" and find(name, "^%.(%w+)$", after) then
      local final = match(name, "^%.(%w+)$", after)
      if find(final, "^gif$") or find(final, "^jpe?g$") or final == "png" or final == "txt" or final == "pdf" then
        return report(RULES.disguised, shown)
      end
    end
  end
end

local function gate(value)
  return (value.place == "filename" or value.place == "header" and find(value.name, "file[%-_.]?name") ~= nil)
end

return {
  group = "upload", rules = RULES, gate = gate, judge = judge,
  about = "Uploaded files that a web server would run or obey.",
}
