-- Path traversal and reading of files that no site serves, judged by where the path leads.
local find, gmatch, gsub, match = string.find, string.gmatch, string.gsub, string.match

local RULES = {
  climb = { id = "traversal-climb", score = 10, why = "The path leads above the site's root." },
  encoded = { id = "traversal-encoded", score = 8, why = "A step upwards is hidden by an encoding, which no browser does." },
  parameter = { id = "traversal-parameter", score = 8, why = "A value climbs two folders or more." },
  relative = { id = "traversal-relative", score = 2, why = "A value climbs one folder, as relative links do." },
  system = { id = "traversal-system-file", score = 8, why = "Names a file of the operating system or the application server." },
  null = { id = "traversal-null", score = 5, why = "A NUL byte cuts off what checks the file's ending." },
}

-- Plain text that must be there before the patterns below are tried.
local SYSTEM = {
  { "etc/", "/etc/%a*passw" }, { "etc/", "/etc/shadow" }, { "etc/", "/etc/group" }, { "etc/", "/etc/hosts" },
  { "etc/", "/etc/issue" }, { "etc/", "/etc/ssh/" }, { "etc/", "/etc/%l+/%l+%.conf" }, { "proc/", "/proc/self/" },
  { "proc/", "/proc/%d+/" }, { "proc/", "/proc/version" }, { "windows", "[:/]/*windows/" }, { "winnt", "[:/]/*winnt/" },
  { "win.ini", "win%.ini" }, { "boot.ini", "boot%.ini" }, { "-inf/", "/?web%-inf/" }, { "-inf/", "/?meta%-inf/" },
  { "file:/", "^%s*file:/" }, { "/log/", "/var/log/" }, { "/.ssh", "/%.ssh/" }, { "bash_history", "%.bash_history" },
}

local function unified(text)
  return (gsub(gsub(text, "\\", "/"), "/%.?/+", "/"))
end

local function system_file(text)
  for _, entry in ipairs(SYSTEM) do
    if find(text, entry[1], 1, true) then
      local first, last = find(text, entry[2])
      if first then return string.sub(text, first, last) end
    end
  end
  return nil
end

-- How many segments are "..", in its disguises ("..;", "....") too, and whether they lead above the start.
local function climbs(text)
  local count, depth, above = 0, 0, false
  for segment in gmatch(text, "[^/]+") do
    local plain = match(segment, "^([^;]*)")
    if plain == ".." or plain == "...." then
      count, depth = count + 1, depth - 1
      above = above or depth < 0
    elseif plain ~= "." then
      depth = depth + 1
    end
  end
  return count, above
end

local function judge_path(value, path, report)
  local count, above = climbs(path)
  if above then
    report(RULES.climb, path)
  elseif count > 0 then
    local is_hidden = value.rounds > 0 and climbs(value.raw) < count
    report(is_hidden and RULES.encoded or RULES.relative, path)
  end
end

local function judge_parameter(path, report)
  if not find(path, "..", 1, true) then return end
  local count = climbs(path)
  if count >= 2 then
    report(RULES.parameter, path)
  elseif count == 1 and find(path, "%.%.;?/") then
    report(RULES.relative, path)
  end
end

local function gate(value)
  return value.place ~= "segment" and find(value.text, "[/\\%z]") ~= nil
end

local function judge(value, report)
  local path = unified(value.text)
  if value.place == "path" then
    judge_path(value, path, report)
  else
    judge_parameter(path, report)
  end
  local file = system_file(path)
  if file then report(RULES.system, file) end
  local null = find(value.text, "\0", 1, true)
  if null then report(RULES.null, value.text) end
end

return { group = "traversal", rules = RULES, gate = gate, judge = judge }
