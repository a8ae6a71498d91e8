-- Long texts are read at their beginning, at their end, and around the marks that attacks cannot do without.
local windows = {}

local find, sub = string.find, string.sub

local AROUND_BYTES_MAX = 256
local WINDOWS_MAX = 24

local MARKS = {
  "<script", "<svg", "<img", "<iframe", "onerror", "onload", "javascript:", "alert(", "document.", "eval(", "union", "select", "sleep(",
  "benchmark", "waitfor", "information_schema", "or 1=1", "../", "..\\", "/etc/", "/bin/", "c:\\", "cmd.exe", "powershell", "wget ", "curl ",
  "system(", "exec(", "passthru", "<?php", "<?=", "<%", "${", "{{", "{%", "#{", "<!entity", "<!doctype", "xinclude", "runtime", "class.",
  "__class__", "__proto__", "$where", "$ne", "file://", "php://", "gopher://", "<!--#", "o:1:", "aced0005", "() {",
}

-- Returns up to `most` {from, to}, `around` bytes before and behind the first occurrences of each mark.
local function around_marks(text, from, to, most, around)
  text = string.lower(text)
  local list = {}
  for _, mark in ipairs(MARKS) do
    local at = find(text, mark, from, true)
    while at and at < to and #list < most do
      list[#list + 1] = { at - around, at + #mark + around }
      at = find(text, mark, at + around * 4, true)
    end
  end
  table.sort(list, function(one, other) return one[1] < other[1] end)
  return list
end

-- Returns a text of about `size` bytes that holds what is decisive in a longer one.
function windows.of(text, size)
  local edge = size // 4
  local around = math.min(AROUND_BYTES_MAX, edge)
  local most = math.min(WINDOWS_MAX, math.max(2, edge // around))
  local parts, done = { sub(text, 1, edge) }, edge
  for _, window in ipairs(around_marks(text, edge, #text - edge, most, around)) do
    local from, to = math.max(window[1], done + 1), math.min(window[2], #text - edge)
    if to >= from and done < #text - edge then
      parts[#parts + 1] = (from > done + 1 and "\n" or "") .. sub(text, from, to)
      done = to
    end
  end
  parts[#parts + 1] = "\n" .. sub(text, math.max(done + 1, #text - edge + 1))
  return table.concat(parts)
end

return windows
