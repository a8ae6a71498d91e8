-- Splits a multipart body (RFC 7578) into its parts, tolerant of bare line feeds and missing ends.
local multipart = {}

local find, gmatch, lower, match, sub = string.find, string.gmatch, string.lower, string.match, string.sub

local HEAD_BYTES = 2048

-- A parameter of Content-Disposition: quoted, bare, or extended (RFC 8187).
local function parameter(head, name)
  local from = select(2, find(lower(head), "[;%s]" .. name .. "%*?%s*=%s*"))
  if not from then return nil end
  if sub(head, from + 1, from + 1) == '"' then return match(head, '^"([^\r\n]*)"', from + 1) or match(head, '^"([^"]*)', from + 1) end
  return match(head, "^[^;\r\n]*", from + 1)
end

local function first_quoted(text)
  return text and (match(text, '^(.-)"%s*;') or text)
end

local function part_of(text)
  local head_stop, body_start = find(text, "\r?\n\r?\n")
  if not head_stop or head_stop > HEAD_BYTES then return { name = "", content = text, type = "" } end
  local head = sub(text, 1, head_stop - 1)
  return {
    name = first_quoted(parameter(head, "name")) or "",
    filename = first_quoted(parameter(head, "filename")),
    type = lower(match(head, "[Cc][Oo][Nn][Tt][Ee][Nn][Tt]%-[Tt][Yy][Pp][Ee]:%s*([^\r\n]*)") or ""),
    content = sub(text, body_start + 1),
  }
end

-- Calls `each({name, filename or nil, type, content})` for up to `most` parts; returns what was not read, or nil.
function multipart.each(body, content_type, most, each)
  local boundary = match(content_type, '[Bb][Oo][Uu][Nn][Dd][Aa][Rr][Yy]%s*=%s*"?([^";,]+)')
  local mark = boundary and "--" .. match(boundary, "^(.-)%s*$")
  local _, at = find(body, mark or "\0", 1, true)
  if not boundary or not at then return body end
  for _ = 1, most do
    if find(body, "^%-%-", at + 1) then return nil end
    local start, stop = find(body, "\n" .. mark, at, true)
    local last = start and (sub(body, start - 1, start - 1) == "\r" and start - 2 or start - 1) or #body
    each(part_of(sub(body, at + 1, last)))
    if not start then return nil end
    at = stop
  end
  return sub(body, at)
end

return multipart
