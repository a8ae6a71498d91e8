-- Cuts text into HTML tags as forgiving as browsers are: any separator, unclosed tags, quotes of three kinds.
local html = {}

local byte, find, match, sub = string.byte, string.find, string.match, string.sub

local TAGS_MAX = 500
local ATTRIBUTES_MAX = 40

-- A tag ends at ">" or where the next one begins, so that no byte outside of quotes is read for two tags.
-- Reads one attribute at `at`: name, value (nil without "=") and where the next one begins; nil at the end of the tag.
-- `unclosed` remembers which quotes do not occur any more, so that a hostile text is searched once.
local function read_attribute(text, at, unclosed)
  at = find(text, "[^%s%c/\"'`,;]", at)
  if not at or byte(text, at) == 62 or byte(text, at) == 60 then return nil end
  local _, stop = find(text, "^=?[^%s%c=/<>\"'`]*", at)
  local name = sub(text, at, stop)
  local _, equals = find(text, "^[%s%c/]*=[%s%c]*", stop + 1)
  if not equals then return name, nil, math.max(stop, at) + 1 end
  local quote = match(text, "^[\"'`]", equals + 1)
  if quote and not unclosed[quote] then
    local close = find(text, quote, equals + 2, true)
    if close then return name, sub(text, equals + 2, close - 1), close + 1 end
    unclosed[quote] = true
  end
  local _, last = find(text, "^<?[^%s%c<>]*", equals + 1)
  return name, sub(text, equals + (quote and 2 or 1), last), last + 1
end

-- Returns a list of {name, value} of the tag whose name ends before `at`.
local function attributes(text, at, unclosed)
  local list = {}
  while #list < ATTRIBUTES_MAX do
    local name, value, after = read_attribute(text, at, unclosed)
    if not name then break end
    list[#list + 1] = { name = name, value = value }
    at = after
  end
  return list
end

-- Calls visit(name, attributes, at, is_closing) for each tag; `at` is the byte of its "<". Returns where reading
-- stopped, if there are too many tags.
function html.each_tag(text, visit)
  local unclosed, count = {}, 0
  local at = find(text, "<", 1, true)
  while at and count < TAGS_MAX do
    count = count + 1
    local slash, name, after = match(text, "^<[%s%c]*(/?)[%s%c/]*([%a?!][%w:_.%-?!%[\"']*)()", at)
    if name then
      local is_closing = slash == "/"
      visit(name, is_closing and {} or attributes(text, after, unclosed), at, is_closing)
    end
    at = find(text, "<", at + 1, true)
  end
  return at
end

local EVENTS = {}
for stem in string.gmatch([[
  abort activate afterprint animation auxclick before beforeunload begin blur bounce canplay cellchange change
  click close contextmenu controlselect copy cuechange cut data dblclick deactivate drag drop durationchange
  emptied end ended error filterchange finish focus formdata fullscreen gesture got hashchange help input
  invalid key languagechange layoutcomplete load lose lost media message mouse move offline online open
  orientationchange outofsync page paste pause play playing pointer popstate progress property ratechange
  readystatechange redo rejectionhandled repeat reset resize resume reverse row scroll search seek seeked
  seeking securitypolicyviolation select show slotchange stalled start stop storage submit suspend syncrestored
  time timeupdate toggle touch trackchange transition undo unhandledrejection unload urlflip volumechange
  waiting webkit wheel zoom unhandled device user vr visibilitychange
]], "%S+") do
  EVENTS[stem] = true
end

local LONGEST_STEM, SHORTEST_STEM = 23, 3

-- Whether `name` (without "on") is an event of browsers; families such as mouse* and key* are known by their stem.
local function is_event(name)
  for length = SHORTEST_STEM, math.min(#name, LONGEST_STEM) do
    if EVENTS[sub(name, 1, length)] then return true end
  end
  return EVENTS[name] == true
end

local EVENT_BYTES_MAX = 50

-- Whether an attribute's name is that of an event handler, known or not.
function html.is_handler(name)
  local event = match(sub(name, -EVENT_BYTES_MAX), "%f[%a]on(%a+)$")
  return event ~= nil and #event >= SHORTEST_STEM
end

local HANDLERS_MAX = 300
local CODE_BYTES = 120

-- Calls visit(event, before, code) for whatever looks like on<event>=<code>, inside or outside of a tag. `before` is
-- the character in front.
function html.each_handler(text, visit)
  local count = 0
  for at, event, after in string.gmatch(text, "()%f[%a]on(%a+)[%s%c/]*=()") do
    count = count + 1
    if count > HANDLERS_MAX then return end
    if is_event(event) then
      visit(event, at > 1 and sub(text, at - 1, at - 1) or "", sub(text, after, after + CODE_BYTES))
    end
  end
end

return html
