-- Perl-compatible regular expressions (pcre2pattern(3)) -> trees of script/match.lua. They work on bytes.
local limits = require("script.limits")
local match = require("script.match")
local sets = require("script.sets")

local pcre = {}

local byte, char, find, gsub, sub = string.byte, string.char, string.find, string.gsub, string.sub
local spend = limits.spend

local BYTES_MAX, DEPTH_MAX, REPEAT_MAX = 4096, 40, 1000
-- What the set of a class takes; a byte of the pattern takes half a KB.
local CLASS_KB = 16
local CLASSES = {
  d = sets.DIGIT, D = sets.inverse(sets.DIGIT), w = sets.WORD, W = sets.inverse(sets.WORD), s = sets.BLANK,
  S = sets.inverse(sets.BLANK), h = sets.class("[ \t]"), v = sets.class("[\n\v\f\r]"), N = sets.inverse({ [10] = true }),
}
local NAMED = {
  alpha = sets.class("%a"), digit = sets.DIGIT, alnum = sets.class("%w"), upper = sets.class("%u"), lower = sets.class("%l"),
  space = sets.BLANK, punct = sets.class("%p"), xdigit = sets.class("%x"), cntrl = sets.class("%c"), word = sets.WORD,
  blank = CLASSES.h, graph = sets.class("%g"), print = sets.class("[%g ]"),
}
local CONTROLS = { n = 10, r = 13, t = 9, f = 12, e = 27, a = 7 }
local PLACES = { A = "start", z = "stop", Z = "last_line", b = "edge", B = "no_edge", G = "from" }

local Parser = {}
Parser.__index = Parser

local function fail(parser, text) error({ regex = text .. " at offset " .. parser.at - 1 }, 0) end

function Parser:peek(count) return sub(self.text, self.at, self.at + (count or 1) - 1) end

function Parser:take(text)
  if sub(self.text, self.at, self.at + #text - 1) ~= text then return false end
  self.at = self.at + #text
  return true
end

-- Moves behind what a Lua pattern finds here and returns its first capture.
function Parser:scan(pattern)
  local _, stop, found = find(self.text, "^" .. pattern, self.at)
  if stop then self.at = stop + 1 end
  return found
end

function Parser:set(set) return { kind = "set", set = self.flags.i and sets.folded(set) or set } end

function Parser:literal(value) return { kind = "set", set = sets.one(value, self.flags.i), byte = not self.flags.i and value or nil } end

function Parser:number_of(digits, base)
  local value = tonumber(digits, base)
  if value > 255 then fail(self, "a character beyond one byte; write its UTF-8 bytes") end
  return value
end

-- After "\": a set, the value of one byte, or nothing of the two.
function Parser:escaped_set()
  local letter = self:peek()
  if CLASSES[letter] then
    self.at = self.at + 1
    return CLASSES[letter]
  end
end

function Parser:escaped_byte()
  local letter = self:peek()
  if letter == "" then fail(self, "\\ at end of pattern") end
  self.at = self.at + 1
  if letter == "x" then
    local digits = self:scan("{(%x+)}") or self:scan("(%x%x?)") or "0"
    return self:number_of(digits, 16)
  end
  if letter == "0" then return self:number_of("0" .. (self:scan("([0-7][0-7]?)") or ""), 8) end
  if CONTROLS[letter] then return CONTROLS[letter] end
  if find(letter, "%w") then
    self.at = self.at - 1
    fail(self, "unknown escape \\" .. letter)
  end
  return byte(letter)
end

function Parser:class_member()
  if self:take("[:") then
    local inverse, name = self:take("^"), self:scan("(%l+):%]")
    if not NAMED[name] then fail(self, "unknown POSIX class name") end
    return inverse and sets.inverse(NAMED[name]) or NAMED[name]
  end
  if self:take("\\") then
    if self:take("b") then return nil, 8 end
    local set = self:escaped_set()
    if set then return set end
    return nil, self:escaped_byte()
  end
  local value = byte(self.text, self.at)
  if not value then fail(self, "missing terminating ] for character class") end
  self.at = self.at + 1
  return nil, value
end

function Parser:class()
  local inverse, set, is_first = self:take("^"), {}, true
  self.classes = self.classes + 1
  while is_first or self:peek() ~= "]" do
    is_first = false
    spend(4)
    local members, low = self:class_member()
    if members then
      sets.add(set, members)
    else
      local high = low
      if self:peek() == "-" and self:peek(2) ~= "-]" and self:peek(2) ~= "-" then
        self.at = self.at + 1
        members, high = self:class_member()
        if members or high < low then fail(self, "range out of order in character class") end
      end
      for value = low, high do set[value] = true end
    end
  end
  self.at = self.at + 1
  if self.flags.i then set = sets.folded(set) end
  return { kind = "set", set = inverse and sets.inverse(set) or set }
end

-- Bytes that a tree takes: one number for all its matches, or nil.
local function width_of(node)
  if node.kind == "set" then return 1 end
  if node.kind == "group" then return width_of(node[1]) end
  if node.kind == "loop" then
    local width = node.low == node.high and width_of(node[1])
    return width and width * node.low
  end
  if node.kind == "seq" or node.kind == "alt" then
    local total
    for _, child in ipairs(node) do
      local width = width_of(child)
      if not width or node.kind == "alt" and total and total ~= width then return nil end
      total = node.kind == "alt" and width or (total or 0) + width
    end
    return total or 0
  end
  if node.kind == "ref" or node.kind == "atom" then return nil end
  return 0
end

function Parser:behind(is_wanted)
  local tree, widths = self:alternatives(), {}
  for index, way in ipairs(tree.kind == "alt" and tree or { tree }) do
    widths[index] = width_of(way) or fail(self, "lookbehind assertion is not fixed length")
  end
  return { kind = "look", is_wanted = is_wanted, widths = widths, tree }
end

function Parser:new_group(name)
  self.groups = self.groups + 1
  local index = self.groups
  if name then self.names[name] = index end
  return { kind = "group", index = index, self:alternatives() }
end

-- After "(?".
function Parser:special()
  if self:take(":") then return self:alternatives() end
  if self:take("=") then return { kind = "look", is_wanted = true, self:alternatives() } end
  if self:take("!") then return { kind = "look", is_wanted = false, self:alternatives() } end
  if self:take("<=") then return self:behind(true) end
  if self:take("<!") then return self:behind(false) end
  if self:take(">") then return { kind = "atom", self:alternatives() } end
  local name = self:scan("P?<([%a_][%w_]*)>") or self:scan("'([%a_][%w_]*)'")
  if name then return self:new_group(name) end
  if self:take("#") then
    self:scan("([^)]*)")
    return { kind = "seq" }
  end
  return self:inner_flags()
end

-- "(?i)" holds to the end of its group, "(?i:…)" inside.
function Parser:inner_flags()
  local on, off, ending = string.match(self:peek(12), "^([imsx]*)-?([imsx]*)([:)])")
  if not on then fail(self, "unrecognized character after (?") end
  self.at = self.at + #on + #off + 1 + (sub(self:peek(#on + 1), -1) == "-" and 1 or 0)
  local flags = setmetatable({}, { __index = self.flags })
  for letter in string.gmatch(on, ".") do flags[letter] = true end
  for letter in string.gmatch(off, ".") do flags[letter] = false end
  local outer = self.flags
  self.flags = flags
  if ending == ")" then
    self.at = self.at - 1
    return { kind = "seq", holds = true }
  end
  local tree = self:alternatives()
  self.flags = outer
  return tree
end

function Parser:group()
  local node
  local outer = self.flags
  if self:take("?") then node = self:special() else node = self:new_group() end
  if not self:take(")") then fail(self, "missing closing parenthesis") end
  if not node.holds then self.flags = outer end
  return node
end

function Parser:escape()
  local place = PLACES[self:peek()]
  if place then
    self.at = self.at + 1
    return { kind = place }
  end
  local name = self:scan("k[{<']([%a_][%w_]*)[}>']") or self:scan("g{([%a_][%w_]*)}")
  local number = tonumber(self:scan("g{?([1-9]%d?)}?") or self:scan("([1-9]%d?)"))
  if name or number then
    return { kind = "ref", index = number or self.names[name] or fail(self, "reference to a group that is not there"), folds = self.flags.i }
  end
  if self:take("R") then return { kind = "set", set = CLASSES.v } end
  if self:take("Q") then
    local text, nodes = self:scan("(.-)\\E") or self:scan("(.*)"), { kind = "seq" }
    for index = 1, #text do nodes[index] = self:literal(byte(text, index)) end
    return nodes
  end
  local set = self:escaped_set()
  if set then return { kind = "set", set = set } end
  return self:literal(self:escaped_byte())
end

function Parser:atom()
  local one = self:peek()
  self.at = self.at + 1
  if one == "(" then return self:group() end
  if one == "[" then return self:class() end
  if one == "\\" then return self:escape() end
  if one == "." then return { kind = "set", set = self.flags.s and sets.ALL or CLASSES.N } end
  if one == "^" then return { kind = self.flags.m and "line_start" or "start" } end
  if one == "$" then return { kind = self.flags.m and "line_stop" or "last_line" } end
  if find(one, "[*+?]") then
    self.at = self.at - 1
    fail(self, "quantifier does not follow a repeatable item")
  end
  return self:literal(byte(one))
end

-- Returns the bounds of a quantifier, or nothing where there is none.
function Parser:bounds()
  if self:take("*") then return 0, math.huge end
  if self:take("+") then return 1, math.huge end
  if self:take("?") then return 0, 1 end
  local from, stop, low, comma, high = find(self.text, "^{(%d+)(,?)(%d*)}", self.at)
  if not from then return nil end
  self.at = stop + 1
  low, high = tonumber(low), comma == "" and tonumber(low) or tonumber(high) or math.huge
  if low > REPEAT_MAX or high ~= math.huge and high > REPEAT_MAX or high < low then fail(self, "a repetition counts upwards, to " .. REPEAT_MAX) end
  return low, high
end

function Parser:quantified(node)
  local low, high = self:bounds()
  while low do
    local mode = self:take("?") and "lazy" or self:take("+") and "possessive" or "greedy"
    node = { kind = "loop", low = low, high = high, mode = mode, node }
    low, high = self:bounds()
  end
  return node
end

function Parser:sequence()
  local nodes = { kind = "seq" }
  while true do
    if self.flags.x then self:scan("(%s*)") end
    local one = self:peek()
    if one == "" or one == "|" or one == ")" then return nodes end
    if self.flags.x and one == "#" then
      self:scan("([^\n]*)")
    else
      spend(8)
      nodes[#nodes + 1] = self:quantified(self:atom())
    end
  end
end

function Parser:alternatives()
  self.depth = self.depth + 1
  if self.depth > DEPTH_MAX then fail(self, "groups nest at most " .. DEPTH_MAX .. " deep") end
  local ways = { kind = "alt", self:sequence() }
  while self:take("|") do ways[#ways + 1] = self:sequence() end
  self.depth = self.depth - 1
  return ways[2] and ways or ways[1]
end

-- The text that every match begins with, or nil.
local function prefix_of(tree)
  local text = {}
  if tree.kind ~= "seq" then return nil end
  for index, node in ipairs(tree) do
    if not node.byte then break end
    text[index] = char(node.byte)
  end
  return text[1] and table.concat(text)
end

local function parsed(pattern, options)
  local flags = {}
  for letter in string.gmatch(options, ".") do flags[letter] = true end
  local parser = setmetatable({ text = pattern, at = 1, flags = flags, groups = 0, names = {}, depth = 0, classes = 0 }, Parser)
  if gsub(options, "[aijmosuxdDJU]", "") ~= "" then error({ regex = 'unknown flag in "' .. options .. '"' }, 0) end
  if #pattern > BYTES_MAX then fail(parser, "a pattern has at most " .. BYTES_MAX .. " bytes") end
  local tree = parser:alternatives()
  if parser.at <= #pattern then fail(parser, "unmatched closing parenthesis") end
  local is_anchored = flags.a or tree.kind == "seq" and tree[1] and tree[1].kind == "start"
  local program = match.program(tree, parser.groups, prefix_of(tree), is_anchored)
  program.groups, program.names = parser.groups, parser.names
  program.size_kb = 1 + parser.classes * CLASS_KB + #pattern // 2
  return program
end

-- Returns the program of a pattern, or nil and what is wrong with it.
function pcre.compile(pattern, options)
  local ok, result = pcall(parsed, pattern, options)
  if ok then return result end
  if type(result) == "table" and result.regex then return nil, result.regex end
  error(result, 0)
end

return pcre
