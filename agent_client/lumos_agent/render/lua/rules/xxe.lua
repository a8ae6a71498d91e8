-- XML that makes its parser fetch files and addresses, or blow up: entities, external DTDs, inclusions, style sheets.
local entity_names = require("rules.entity_names")

local find, gmatch, lower, sub = string.find, string.gmatch, string.lower, string.sub

local RULES = {
  external = { id = "xxe-external-entity", score = 10, why = "Declares an entity that the parser reads from a file or an address." },
  parameter = { id = "xxe-parameter-entity", score = 9, why = "Declares a parameter entity, which only builds other declarations." },
  internal = { id = "xxe-entity", score = 6, why = "Declares an entity, which data sent to a site has no use for." },
  dtd = { id = "xxe-external-dtd", score = 7, why = "Loads its document type from a place that is no published standard." },
  include = { id = "xxe-include", score = 8, why = "Includes another document while it is parsed (XInclude)." },
  disguise = { id = "xxe-encoding", score = 8, why = "Declares UTF-7, which hides markup from whoever looks at it." },
  script = { id = "xxe-stylesheet", score = 8, why = "A style sheet that calls code of the machine that applies it." },
  reference = { id = "xxe-reference", score = 6,
    why = "Refers to an entity that neither XML nor the document declares: only a document type brought along could." },
  island = { id = "xxe-data-island", score = 8, why = "Markup that loads a document or a behaviour from elsewhere into the page (old browsers)." },
  schema = { id = "xxe-schema", score = 3, why = "Names an address from which the parser should fetch a schema." },
}

-- Where well-known document types live.
local PUBLISHED = { "//www.w3.org/", "//java.sun.com/", "//www.apple.com/dtds/", "//xmlns.jcp.org/", "about:legacy-compat" }
local CODE_NAMESPACES = { "http://php.net/xsl", "urn:schemas-microsoft-com:xslt", "xml.apache.org/xalan", "xml.apache.org/xslt/java", "xsl:script" }
local ENTITIES_MAX = 20
local SCHEMA_HOSTS = { "//www.w3.org/", "//schemas.xmlsoap.org/", "//maven.apache.org/", "//schemas.microsoft.com/", "//schemas.openxmlformats.org/" }

local function names_one_of(text, list)
  for _, item in ipairs(list) do
    if find(text, item, 1, true) then return true end
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
      report(RULES.external, declaration)
    elseif find(declaration, "^<!entity%s+[^%s\"'>]+%s+[\"']") then
      report(RULES.internal, declaration)
    end
    at = stop + 1
  end
end

local function judge_doctype(text, report)
  local start = find(text, "<!doctype", 1, true)
  if not start then return end
  local declaration = sub(text, start, start + 400)
  local head = sub(declaration, 1, (find(declaration, "[>%[]") or #declaration) - 1)
  if (find(head, "%ssystem%s*[\"']") or find(head, "%spublic%s*[\"']")) and find(head, "[\"'][^\"']*[/.][^\"']*[\"']%s*$")
    and not names_one_of(head, PUBLISHED) then
    report(RULES.dtd, declaration)
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
  if value.place == "document" and (find(text, "&", 1, true) or find(text, "%", 1, true)) then return true end
  if find(text, "<?import", 1, true) or find(text, "datasrc", 1, true) then return true end
  return find(text, "<!", 1, true) ~= nil or find(text, "xinclude", 1, true) ~= nil or find(text, "utf-7", 1, true) ~= nil
    or find(text, "xsl:", 1, true) ~= nil or find(text, "schemalocation", 1, true) ~= nil
end

local function judge(value, report)
  local text = value.text
  judge_entities(text, report)
  judge_doctype(text, report)
  judge_references(value, report)
  judge_islands(text, report)
  local include = find(text, "http://www.w3.org/2001/xinclude", 1, true)
  if include and find(text, ":?include[%s/>]") then report(RULES.include, sub(text, include)) end
  if find(text, "<?xml", 1, true) and find(text, "encoding%s*=%s*[\"']utf%-7[\"']") then report(RULES.disguise, text) end
  if find(text, "xsl:", 1, true) and names_one_of(text, CODE_NAMESPACES) then report(RULES.script, text) end
  local schema = find(text, "schemalocation%s*=%s*[\"'][^\"']*//")
  if schema and not names_one_of(sub(text, schema, schema + 300), SCHEMA_HOSTS) then report(RULES.schema, sub(text, schema)) end
end

return {
  group = "xxe", rules = RULES, gate = gate, judge = judge, documents = true,
  about = "XML that makes its parser fetch files or addresses.",
}
