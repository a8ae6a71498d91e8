-- A request's body -> values, by what it is: form, JSON, multipart, XML or other text. What is binary stays unread.
local json = require("json")
local multipart = require("multipart")
local values = require("values")
local xml = require("xml")

local body = {}

local find, gsub, lower, sub = string.find, string.gsub, string.lower, string.sub

local PARTS_MAX = 200
local TEXTS_MAX = 500
local SNIFF_BYTES = 1024
-- How much is read again in front of where a text stops to be JSON.
local REREAD_BYTES = 512

-- Whether the beginning has control characters that no text has.
local function is_binary(text)
  return find(sub(text, 1, SNIFF_BYTES), "[%z\1-\8\14-\31]") ~= nil
end

-- UTF-16 and UTF-32 whose characters are ASCII, as XML parsers accept it.
local function narrowed(text)
  if not find(text, "^[\xFE\xFF%z]*<%z*[%a?!]") then return text end
  return (gsub(gsub(text, "^[\xFE\xFF]+", ""), "%z", ""))
end

local read_text

-- `outer`: how many texts of the JSON around it were read.
local function add_json(list, text, outer)
  local count = outer or 0
  local rest = json.each(text, TEXTS_MAX - count, function(key, value)
    count = count + 1
    if not key then
      if not values.is_plain_name(value) then list[#list + 1] = values.decoded("name", "", value) end
    elseif not values.is_plain(value) then
      if not outer and find(value, "^%s*[{%[]") then
        count = add_json(list, value, count)
      else
        list[#list + 1] = values.decoded("json", key, value)
      end
    end
  end)
  if rest and (not outer or count < outer + 2 or count >= TEXTS_MAX) then
    text = sub(text, rest > REREAD_BYTES and rest - REREAD_BYTES or 1)
    if not is_binary(text) then list[#list + 1] = values.decoded("body", "", text) end
  end
  return count
end

local function add_xml(list, text)
  list[#list + 1] = values.decoded("document", "", text)
  local is_whole = xml.each(text, TEXTS_MAX, function(value)
    if not values.is_plain(value) then list[#list + 1] = values.decoded("xml", "", value) end
  end)
  if not is_whole then list[#list + 1] = values.decoded("body", "", text) end
end

local function add_part(list, part)
  if not values.is_plain_name(part.name) then list[#list + 1] = values.sent("name", "", part.name) end
  if part.filename then
    if part.filename ~= "" then list[#list + 1] = values.sent("filename", part.name, part.filename) end
    local content = narrowed(part.content)
    if not is_binary(content) then list[#list + 1] = values.decoded("document", part.name, content) end
  elseif find(part.type, "json", 1, true) then
    add_json(list, part.content)
  else
    list[#list + 1] = values.decoded("multipart", part.name, part.content)
  end
end

local function add_multipart(list, text, content_type)
  local rest = multipart.each(text, content_type, PARTS_MAX, function(part) add_part(list, part) end)
  if rest then read_text(list, rest) end
end

function read_text(list, text)
  text = narrowed(text)
  if is_binary(text) then return end
  if find(text, "^%s*[{%[]") then
    add_json(list, text)
  elseif find(text, "^\xEF?\xBB?\xBF?%s*<[%a?!]") then
    add_xml(list, text)
  else
    list[#list + 1] = values.decoded("body", "", text)
  end
end

-- Adds the values of `text`; `add_form(list, text)` reads a form. Compressed bodies are not read.
function body.add(list, text, content_type, encoding, add_form)
  if encoding ~= "" and encoding ~= "identity" then return end
  local kind = lower(content_type)
  if find(kind, "json", 1, true) then
    if not is_binary(text) then add_json(list, text) end
  elseif find(kind, "multipart/", 1, true) then
    add_multipart(list, text, content_type)
  elseif find(kind, "xml", 1, true) then
    text = narrowed(text)
    if not is_binary(text) then add_xml(list, text) end
  elseif find(kind, "x-www-form-urlencoded", 1, true) or kind == "" and find(text, "^[%w_.%[%]%%-]+=") then
    add_form(list, text, is_binary(text))
  else
    read_text(list, text)
  end
end

return body
