-- Path traversal and reading of files that no site serves, judged by where the path leads.
local path_view = require("rules.path_view")

local find, gmatch, match, sub = string.find, string.gmatch, string.match, string.sub

local RULES = {
  climb = { id = "traversal-climb", score = 10, why = "The path leads above the site's root." },
  encoded = { id = "traversal-encoded", score = 8, why = "A step upwards is hidden by an encoding, which no browser does." },
  parameter = { id = "traversal-parameter", score = 8, why = "A value climbs two folders or more." },
  relative = { id = "traversal-relative", score = 2, why = "A value climbs one folder, as relative links do." },
  dots = { id = "traversal-dots", score = 5, why = "Segments of dots that only careless path filters turn into steps upwards." },
  system = { id = "traversal-system-file", score = 8, why = "Names a file of the operating system or the application server." },
  absolute = { id = "traversal-absolute-file", score = 5, why = "The whole value is a path to settings or logs outside the site." },
  null = { id = "traversal-null", score = 5, why = "A NUL byte cuts off what checks the file's ending." },
}

-- Plain text that must be there, and what attackers read: anywhere, or where the value is a path and not prose about one.
local SECRETS = {
  { "etc/", "/etc/[%w.-]*passwd" }, { "etc/", "/etc/g?shadow" }, { "etc/", "/etc/issue" }, { "etc/", "/etc/hosts%f[^%w]" },
  { "etc/", "/etc/group%f[^%w]" }, { "proc/", "/proc/self/" }, { "windows/", "/windows/system32/[%w/]+" },
  { "win.ini", "%f[%w]win%.ini%f[^%w]" }, { "boot.ini", "%f[%w]boot%.ini%f[^%w]" }, { "-inf/", "/?web%-inf/%w" },
  { "-inf/", "/?meta%-inf/%w" }, { "file:/", "^%s*file:/" }, { "file:/", "[=\"']file:///%a" }, { "/.ssh", "/%.ssh/%w" },
}
local FILES = {
  { "etc/", "/etc/[%w._-]*[%w/._-]*%w" }, { "proc/", "/proc/%d+/" }, { "proc/", "/proc/version" }, { "proc/", "/proc/cpuinfo" },
  { "proc/", "/proc/mounts" }, { "proc/", "/proc/net/" }, { "proc/", "/proc/cmdline" }, { "windows/", "/windows/repair/" },
  { "windows/", "/windows/[%w/]*%.ini" }, { "windows/", "/windows/[%w/]+%.log" }, { "windows/", "/windows/system32" },
  { "winnt/", "/winnt/%w" }, { "/log/", "/var/log/%w" }, { "bash_history", "/%.bash_history" }, { "/sam", "/config/sam%f[^%w]" },
  { "inetpub", "/inetpub/[%w/]+%.%w" },
}
local ROOTS = {
  etc = true, usr = true, var = true, proc = true, sys = true, root = true, opt = true, boot = true, windows = true, winnt = true,
  ["program files"] = true, ["program files (x86)"] = true, inetpub = true, apache = true, apache2 = true, apache24 = true,
  mysql = true, xampp = true, wamp = true, php = true, php4 = true, php5 = true, home = true, logs = true, www = true, bin = true,
  home2 = true, ["local"] = true, nginx = true, system32 = true, users = true, users_all = true, private = true, library = true,
  volumes = true, minnt = true, mnt = true,
}
local INNER_FILES = { "%.conf$", "%.cnf$", "%.ini$", "%.log$", "_log$", "%.err$", "%.asa$", "%.pdb$", "%.passwd$", "%.pwd$", "%.sam$", "/passwd$", "/log$" }

local function named(path, list)
  for _, entry in ipairs(list) do
    if find(path, entry[1], 1, true) then
      local first, last = find(path, entry[2])
      if first then return sub(path, first, last) end
    end
  end
  return nil
end

-- A path of a URL may have a folder "etc" of its own: there only what stands first counts.
local function system_file(path, is_url)
  local secret = named(path, SECRETS)
  if secret or find(path, "%s") or is_url and not find(path, "^/etc/") then return secret end
  return named(find(path, "^%a?:?/") and path or match(path, "%.%.(/.*)$") or "", FILES)
end

-- "..", also as "..;", "....", and with "?" for a dot, which Windows reads as any character.
local function is_upwards(segment)
  local plain = match(segment, "^([^;]*)")
  return plain == ".." or plain == "...." or plain == "?." or plain == ".?" or plain == "??"
end

-- How many segments lead upwards, and whether they lead above the start.
local function climbs(path)
  local count, depth, above = 0, 0, false
  for segment in gmatch(path, "[^/]+") do
    if is_upwards(segment) then
      count, depth = count + 1, depth - 1
      above = above or depth < 0
    elseif segment ~= "." then
      depth = depth + 1
    end
  end
  return count, above
end

-- Runs of segments that consist of dots: "/./././", "/.../.../", and dots without end before a slash.
local function has_dots(path)
  return find(path, "%.%.%./+%.%.%./") ~= nil or find(path, "%./+%./+%./+%./") ~= nil or find(path, "/%.%.%.%.%.%.%.%.") ~= nil
    or find(path, "%.%.%./%.[/%.]") ~= nil
end

local function judge_path(value, path, is_disguised, report)
  local count, above = climbs(path)
  if above then
    report(RULES.climb, path)
  elseif count > 0 then
    local is_hidden = is_disguised or value.rounds > 0 and climbs(value.raw) < count
    report(is_hidden and RULES.encoded or RULES.relative, path)
  end
end

local function judge_parameter(value, path, is_disguised, report)
  if not find(path, "[.?][.?]") then return end
  local count = climbs(path)
  if count >= 2 then
    report(RULES.parameter, path)
  elseif count == 1 and find(path, "[.?][.?];?/") then
    local is_hidden = is_disguised or value.rounds >= 2
    report(is_hidden and RULES.encoded or RULES.relative, path)
    local root = match(path, "%.%./([%w ()]+)/")
    if root and ROOTS[root] then report(RULES.absolute, path) end
  end
end

-- A path that starts at a root outside the site and ends in a file of settings, logs or passwords.
local function is_inner_file(path)
  local root = match(path, "^%a?:?/([%w ()]+)/")
  if not root or not ROOTS[root] or #path > 200 then return false end
  for _, ending in ipairs(INNER_FILES) do
    if find(path, ending) then return true end
  end
  return false
end

local LONG_BYTES = 4096

-- Without one of these no rule below can object.
local MARKS = { "winnt", "..", "win.ini", "boot.ini", "_history" }
local MARKS_WITH_SLASH = { "./", "etc/", "proc/", "windows/", "-inf/", "file:/", "/.ssh", "/log/", "inetpub/" }

local function has_one_of(text, marks)
  for index = 1, #marks do
    if find(text, marks[index], 1, true) then return true end
  end
  return false
end

local function gate(value)
  if value.place == "segment" or value.place == "document" then return false end
  local text = value.text
  if find(text, "[\\%z%%\xC0\xC1\xF8\xFC]") or find(text, "^%a?:?/%w") and value.place ~= "path" or find(text, "x[25][efc]") then return true end
  if has_one_of(text, MARKS) or find(text, "/", 1, true) and has_one_of(text, MARKS_WITH_SLASH) then return true end
  return find(text, "??", 1, true) ~= nil or find(text, "\xF0\x80", 1, true) ~= nil
end

-- A long text is no path: what counts in it are secrets and a climb of two steps.
local function judge_long(value, report)
  local text = value.text
  local file = named(text, SECRETS)
  if file then report(RULES.system, file) end
  local at = find(text, "../../", 1, true) or find(text, "..\\..\\", 1, true)
  if at then report(RULES.parameter, sub(text, at)) end
end

local function judge(value, report)
  if #value.text > LONG_BYTES then return judge_long(value, report) end
  local path, is_disguised, plain = path_view.of(value.text)
  if value.place == "path" then
    judge_path(value, path, is_disguised, report)
  else
    judge_parameter(value, path, is_disguised, report)
    if is_inner_file(path) then report(RULES.absolute, path) end
  end
  if has_dots(plain) then report(RULES.dots, plain) end
  local file = system_file(path, value.place == "path")
  if file then report(RULES.system, file) end
  if value.place ~= "header" and find(value.text, "\0", 1, true) and find(value.text, "%.%w%w%w?%w?%z") then
    report(RULES.null, value.text)
  end
end

return {
  group = "traversal", rules = RULES, gate = gate, judge = judge, words = true,
  about = "Paths that climb out of the site, and files of the system.",
}
