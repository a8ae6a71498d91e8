-- XML that makes its parser fetch files and addresses, or blow up: entities, external DTDs, inclusions, style sheets.
local entity_names = require("rules.entity_names")

local find, gmatch, gsub, lower, match, sub = string.find, string.gmatch, string.gsub, string.lower, string.match, string.sub

local RULES = {
  external = { id = "xxe-external-entity", score = 10, why = "Declares an entity that the parser reads from a file or an address." },
  parameter = { id = "xxe-parameter-entity", score = 9, why = "Declares a parameter entity, which only builds other declarations." },
  internal = { id = "xxe-entity", score = 6, why = "Declares an entity, which data sent to a site has no use for." },
  dtd = { id = "xxe-external-dtd", score = 7, why = "Loads its document type from a place that is no published standard." },
  include = { id = "xxe-include", score = 8, why = "Includes another document while it is parsed (XInclude)." },
  subset = { id = "xxe-grammar", score = 3, why = "Brings a grammar of its own (elements, attributes, notations), which data has no use for." },
  disguise = { id = "xxe-encoding", score = 8, why = "Is written in UTF-7 or EBCDIC, which hide markup from whoever looks at it." },
  shapeless = { id = "xxe-no-document", score = 3,
    why = "Announced as XML and nothing of the kind: it tries what the parser says and does." },
  fetch = { id = "xxe-stylesheet-fetch", score = 7, why = "A style sheet that reads or writes files, or asks what applies it." },
  script = { id = "xxe-stylesheet", score = 8, why = "A style sheet that calls code of the machine that applies it." },
  reference = { id = "xxe-reference", score = 6,
    why = "Refers to an entity that neither XML nor the document declares: only a document type brought along could." },
  island = { id = "xxe-data-island", score = 8, why = "Markup that loads a document or a behaviour from elsewhere into the page (old browsers)." },
  schema = { id = "xxe-schema", score = 3, why = "Names an address from which the parser should fetch a schema." },
}

-- Where well-known document types live.
local PUBLISHED = { "^https?://www%.w3%.org/", "^https?://java%.sun%.com/", "^https?://www%.apple%.com/dtds/", "^https?://xmlns%.jcp%.org/",
  "^about:legacy%-compat$" }
-- Drawing programs abbreviate names of namespaces with entities.
local NAMESPACES = { "^https?://www%.w3%.org/[%w/.#-]*$", "^https?://ns%.adobe%.com/[%w/.#-]*$" }
local TRANSFORM = "http://www.w3.org/1999/xsl/transform"
-- Encodings in which the characters of markup are other bytes.
local DISGUISES = { "^utf%-?7", "^csutf7", "^unicode%-1%-1%-utf%-7", "^x%-imap", "^ibm%-?%d", "^ebcdic", "^cp0?37$", "^cp%-?500$", "^cp%-?1026$" }
-- "<?xm" in EBCDIC.
local EBCDIC = "\x4C\x6F\xA7\x94"
local CODE_NAMESPACES = { "http://php.net/xsl", "urn:schemas-microsoft-com:xslt", "xml.apache.org/xalan", "xml.apache.org/xslt/java", "xsl:script" }
local ENTITIES_MAX = 100
local SCHEMA_HOSTS = { "//www.w3.org/", "//schemas.xmlsoap.org/", "//maven.apache.org/", "//schemas.microsoft.com/", "//schemas.openxmlformats.org/" }

local function names_one_of(text, list)
  for _, item in ipairs(list) do
    if find(text, item, 1, true) then return true end
  end
  return false
end

local function matches_one_of(text, list)
  for _, pattern in ipairs(list) do
    if find(text, pattern) then return true end
  end
  return false
end

local function judge_entities(text, report)
  local at = 1
  for _ = 1, ENTITIES_MAX do
    local start, stop = find(text, "<!entity%s+", at)
    if not start then return end
    local declaration = sub(text, start, start + 300)
    if find(text, "^%%", stop + 1) then report(RULES.parameter, declaration) end
    if find(declaration, "^<!entity%s+%%?%s*[^%s\"'>]+%s+system%s*[\"']") or find(declaration, "^<!entity%s+%%?%s*[^%s\"'>]+%s+public%s*[\"']") then
      return report(RULES.external, declaration)
    end
    local content = match(declaration, "^<!entity%s+[^%s\"'>]+%s+[\"']([^\"'>]*)")
    if content and not matches_one_of(content, NAMESPACES) then report(RULES.internal, declaration) end
    at = stop + 1
  end
  report(RULES.internal, sub(text, at))
end

local function judge_doctype(text, report)
  local start = find(text, "<!doctype", 1, true)
  if not start then return end
  local declaration = sub(text, start, start + 400)
  local head = sub(declaration, 1, (find(declaration, "[>%[]") or #declaration) - 1)
  if find(head, "%ssystem%s*[\"']") or find(head, "%spublic%s*[\"']") then
    local place = match(head, "[\"']([^\"']*[/.:][^\"']*)[\"']%s*$")
    if place and not matches_one_of(place, PUBLISHED) then report(RULES.dtd, declaration) end
  end
  local subset = find(text, "[>%[]", start)
  if not subset or sub(text, subset, subset) ~= "[" then return end
  if find(text, "<!element%s", subset) or find(text, "<!attlist%s", subset) or find(text, "<!notation%s", subset) then
    report(RULES.subset, declaration)
  end
end

local REFERENCES_MAX = 200

-- CDATA sections hold text, not references.
local function without_cdata(text)
  local parts, from = {}, 1
  while true do
    local start = find(text, "<![CDATA[", from, true)
    parts[#parts + 1] = sub(text, from, start and start - 1)
    local stop = start and find(text, "]]>", start, true)
    if not stop then return table.concat(parts) end
    from = stop + 3
  end
end

-- A body alone: an uploaded text is no document that a parser reads.
local function judge_references(value, report)
  if value.place ~= "document" or value.name ~= "" then return end
  local text = value.raw
  if find(text, "^%s*%%[%a_][%w_.:-]*;%s*$") then return report(RULES.reference, text) end
  if not find(text, "&", 1, true) then return end
  if find(text, "<![CDATA[", 1, true) then text = without_cdata(text) end
  local count = 0
  for name in gmatch(text, "&([%a_][%w_.:-]*);") do
    count = count + 1
    if count > REFERENCES_MAX then return end
    if not entity_names.is_character(lower(name)) then return report(RULES.reference, "&" .. name .. ";") end
  end
end

-- JSON and forms under a wrong name are common; a document, even a broken one, begins with markup.
local function judge_shape(value, report)
  if value.place ~= "document" or value.name ~= "" then return end
  local text = gsub(sub(value.raw, 1, 512), "^\xEF\xBB\xBF", "")
  if sub(text, 1, #EBCDIC) == EBCDIC then return report(RULES.disguise, text) end
  if not find(text, "%S") or find(text, "^%s*<") or find(text, "^%s*{%s*[\"}]") or find(text, "^%s*%[%s*[%[{\"%d%]tfn-]")
    or find(text, "^%s*[%w_.%%%[%]-]+=") then return end
  report(RULES.shapeless, text)
end

-- What a style sheet reads by name: another document of its own folder is part of it.
local function judge_stylesheet(text, report)
  if names_one_of(text, CODE_NAMESPACES) then report(RULES.script, text) end
  local at = find(text, "document%s*%(%s*[\"']%s*%l*:?[/\\]") or find(text, "unparsed-text", 1, true) or find(text, ":result-document", 1, true)
    or find(text, ":include%s[^>]*href%s*=%s*[\"']%s*%l*:?[/\\]") or find(text, ":import%s[^>]*href%s*=%s*[\"']%s*%l*:?[/\\]")
    or find(text, "system-property", 1, true)
  if at then report(RULES.fetch, sub(text, at)) end
end

local function judge_islands(text, report)
  local at = find(text, "<?import", 1, true)
  if at and find(sub(text, at, at + 200), "^<%?import%s[^>]*implementation%s*=") then report(RULES.island, sub(text, at)) end
  at = find(text, "<xml", 1, true)
  if at and find(text, "datasrc", at, true) and find(sub(text, at, at + 200), "^<xml%s[^>]*src%s*=") then
    report(RULES.island, sub(text, at))
  end
end

local function gate(value)
  local text = value.text
  if value.place == "document" and (value.name == "" or find(text, "&", 1, true)) then return true end
  if find(text, "<?import", 1, true) or find(text, "datasrc", 1, true) then return true end
  return find(text, "<!", 1, true) ~= nil or find(text, "xinclude", 1, true) ~= nil or find(text, "<?xml", 1, true) ~= nil
    or find(text, "xsl", 1, true) ~= nil or find(text, "schemalocation", 1, true) ~= nil
end

local function judge(value, report)
  local text = value.text
  judge_entities(text, report)
  judge_doctype(text, report)
  judge_references(value, report)
  judge_shape(value, report)
  judge_islands(text, report)
  local include = find(text, "http://www.w3.org/2001/xinclude", 1, true)
  if include and find(text, ":?include[%s/>]") then report(RULES.include, sub(text, include)) end
  local encoding = match(text, "<%?xml%s[^>]-encoding%s*=%s*[\"']([%w_-]+)")
  if encoding and matches_one_of(encoding, DISGUISES) then report(RULES.disguise, text) end
  if find(text, "xsl:", 1, true) or find(text, TRANSFORM, 1, true) then judge_stylesheet(text, report) end
  local schema = find(text, "schemalocation%s*=%s*[\"'][^\"']*//")
  if schema and not names_one_of(sub(text, schema, schema + 300), SCHEMA_HOSTS) then report(RULES.schema, sub(text, schema)) end
end

return {
  group = "xxe", rules = RULES, gate = gate, judge = judge, documents = true,
  about = "XML that makes its parser fetch files or addresses.",
}
