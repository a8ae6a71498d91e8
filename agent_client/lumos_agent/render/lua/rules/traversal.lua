-- Path traversal and reading of files that no site serves, judged by the structure of the decoded path.
local traversal = {}

local RULES = {
  climb = { id = "traversal-climb", score = 10 },      -- ".." leads above the site's root
  encoded = { id = "traversal-encoded", score = 8 },   -- ".." or its slash is hidden by an encoding: no browser does that
  parameter = { id = "traversal-parameter", score = 8 },  -- a value climbs at least twice
  relative = { id = "traversal-relative", score = 2 }, -- one "../": ordinary relative links have it
  system = { id = "traversal-system-file", score = 8 }, -- names a file of the operating system or of the application server
  null = { id = "traversal-null", score = 5 },         -- a NUL byte cuts what checks the file's ending
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
  return (string.gsub(string.gsub(text, "\\", "/"), "/%.?/+", "/"))
end

local function names_system_file(text)
  for _, entry in ipairs(SYSTEM) do
    if string.find(text, entry[1], 1, true) and string.find(text, entry[2]) then return true end
  end
  return false
end

-- How many segments are "..", in its disguises ("..;", "....") too, and whether they lead above the start.
local function climbs(text)
  local count, depth, above = 0, 0, false
  for segment in string.gmatch(text, "[^/]+") do
    local plain = string.match(segment, "^([^;]*)")
    if plain == ".." or plain == "...." then
      count, depth = count + 1, depth - 1
      above = above or depth < 0
    elseif plain ~= "." then
      depth = depth + 1
    end
  end
  return count, above
end

local function common(text, found)
  if names_system_file(text) then found[#found + 1] = RULES.system end
  if string.find(text, "\0", 1, true) then found[#found + 1] = RULES.null end
end

-- `raw` as it came, `text` decoded in `rounds` rounds.
function traversal.path(raw, text, rounds)
  local found = {}
  local path = unified(text)
  local count, above = climbs(path)
  if above then
    found[#found + 1] = RULES.climb
  elseif count > 0 then
    local plain = climbs(raw)
    found[#found + 1] = (rounds > 0 and plain < count) and RULES.encoded or RULES.relative
  end
  common(path, found)
  return found
end

function traversal.value(text)
  local found = {}
  local path = unified(text)
  if string.find(path, "..", 1, true) then
    local count = climbs(path)
    if count >= 2 then
      found[#found + 1] = RULES.parameter
    elseif count == 1 and string.find(path, "%.%.;?/") then
      found[#found + 1] = RULES.relative
    end
  end
  common(path, found)
  return found
end

return traversal
