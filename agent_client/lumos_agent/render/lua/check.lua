-- The bot check: a puzzle (proof of work) for browsers, and the pass that its solution buys.
-- Both are signed with the shield's key and hold for one host, one network of addresses and one user agent.
local policy = require("policy")

local check = {}

local byte, char, find, format, gmatch, lower, match, sub = string.byte, string.char, string.find, string.format, string.gmatch, string.lower, string.match, string.sub

check.SOLVED = "lumos_solved"
check.PASS = "lumos_pass"
check.PASS_SECONDS = 3600
local PUZZLE_SECONDS = 300
local MAC_CHARACTERS = 40
local COUNTER_CHARACTERS_MAX = 10
-- Leading zero bits of the solution's SHA-256: about 0.1, 0.5 and 2 seconds on a phone.
local BITS = { low = 13, medium = 15, high = 17 }
local BLOCK = 64
local SCRIPTS = { "curl", "wget", "python", "go-http", "java/", "okhttp", "libwww", "scrapy", "httpclient", "headless", "node-fetch", "axios", "ruby", "perl" }

-- The key lies beside this program, which HAProxy loads by its absolute path.
local function key_beside(source)
  local file = io.open((match(source, "^@(.*/)") or "") .. "check.key")
  local text = file and file:read("a") or ""
  if file then file:close() end
  return (text:gsub("%X", ""):gsub("%x%x", function(hex) return char(tonumber(hex, 16)) end))
end

local KEY = key_beside(debug.getinfo(1, "S").source)

local function padded(mask)
  local bytes = {}
  for index = 1, BLOCK do bytes[index] = char((byte(KEY, index) or 0) ~ mask) end
  return table.concat(bytes)
end

local INNER, OUTER = padded(0x36), padded(0x5c)

-- HMAC-SHA256 (RFC 2104) in hex; HAProxy's own converter takes no key from Lua.
local function mac(txn, text)
  local c = txn.c
  return lower(sub(c:hex(c:sha2(OUTER .. c:sha2(INNER .. text, 256), 256)), 1, MAC_CHARACTERS))
end

local function equal(one, other)
  if #one ~= #other then return false end
  local differ = 0
  for index = 1, #one do differ = differ | byte(one, index) ~ byte(other, index) end
  return differ == 0
end

-- Whom a signature is for.
local function holder(txn)
  local sf = txn.sf
  return table.concat({ lower(sf:req_hdr("host")), txn:get_var("txn.near"), sf:req_fhdr("user-agent") }, "\n")
end

-- Whether there is a key to sign with; without one nobody can pass, so nobody is asked.
function check.is_ready() return #KEY >= 32 end

-- What nobody outside knows, for the hashes of rates.
function check.seed() return KEY end

function check.has_pass(txn)
  local until_hex, signature = match(txn.sf:req_cook(check.PASS), "^(%x+)%.(%x+)$")
  if not until_hex or #until_hex > 8 or tonumber(until_hex, 16) < core.now().sec then return false end
  return equal(signature, mac(txn, "pass\n" .. until_hex .. "\n" .. holder(txn)))
end

-- Returns the Set-Cookie values of a visitor who solved a puzzle: the pass, and the end of the solution.
function check.cookies(txn)
  local until_hex = format("%x", core.now().sec + check.PASS_SECONDS)
  local pass = until_hex .. "." .. mac(txn, "pass\n" .. until_hex .. "\n" .. holder(txn))
  local secure = txn.f:ssl_fc() == 1 and "; Secure" or ""
  return format("%s=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax%s", check.PASS, pass, check.PASS_SECONDS, secure),
    check.SOLVED .. "=; Path=/; Max-Age=0; SameSite=Lax"
end

-- Returns a puzzle: token, bits and the nonce in it.
function check.puzzle(txn, level)
  local nonce = sub(txn.c:hex(txn.c:sha2(txn.f:uuid() .. KEY, 256)), 1, 20)
  local bits = BITS[level] or BITS.medium
  local head = format("%d.%x.%s", bits, core.now().sec + PUZZLE_SECONDS, nonce)
  return head .. "." .. mac(txn, "puzzle\n" .. head .. "\n" .. holder(txn)), bits, nonce
end

local function zero_bits(digest)
  for index = 1, #digest do
    local value = byte(digest, index)
    if value > 0 then
      local bits = (index - 1) * 8
      while value < 128 do value, bits = value << 1, bits + 1 end
      return bits
    end
  end
  return #digest * 8
end

-- Returns the nonce of a puzzle that this visitor solved in time, or nil. It may be spent once.
function check.solved(txn)
  local cookie = txn.sf:req_cook(check.SOLVED)
  if cookie == "" then return nil end
  local token, counter = match(cookie, "^(.+)%.(%d+)$")
  if not token or #counter > COUNTER_CHARACTERS_MAX then return nil end
  local head, bits, until_hex, nonce, signature = match(token, "^((%d%d)%.(%x+)%.(%x+))%.(%x+)$")
  if not head or #until_hex > 8 or tonumber(until_hex, 16) < core.now().sec then return nil end
  if not equal(signature, mac(txn, "puzzle\n" .. head .. "\n" .. holder(txn))) then return nil end
  return zero_bits(txn.c:sha2(cookie, 256)) >= tonumber(bits) and nonce or nil
end

-- Whether a request does not look like a browser's: what all browsers send is missing, or a program names itself.
local function is_suspicious(txn)
  local sf = txn.sf
  local agent = lower(sf:req_fhdr("user-agent"))
  if #agent < 20 or sf:req_fhdr("accept") == "" or sf:req_fhdr("accept-language") == "" then return true end
  for _, name in ipairs(SCRIPTS) do
    if find(agent, name, 1, true) then return true end
  end
  return false
end

-- Whether the address is of a search engine (crawlers.py) whose name the request bears.
local function is_crawler(txn)
  local words = txn:get_var("txn.crawler")
  if not words then return false end
  local agent = lower(txn.sf:req_fhdr("user-agent"))
  for word in gmatch(words, "[^+]+") do
    if find(agent, word, 1, true) then return true end
  end
  return false
end

local function is_exempt(guard, txn)
  local sf = txn.sf
  if is_crawler(txn) then return true end
  if guard.methods[sf:method()] then return true end
  for _, name in ipairs(guard.tokens) do
    if sf:req_fhdr(name) ~= "" then return true end
  end
  return policy.is_surely_below(sf:path(), guard.paths)
end

-- Whether this visitor should be asked, if he has no pass.
function check.is_wanted(guard, txn)
  local everybody = guard.attack or guard.check == "always"
  if not everybody and guard.check ~= "suspicious" then return false end
  return not is_exempt(guard, txn) and (everybody or is_suspicious(txn))
end

-- Whether a puzzle's page can be shown: a navigation that changes nothing, of somebody who reads HTML.
function check.takes_page(txn)
  local method = txn.sf:method()
  return (method == "GET" or method == "HEAD") and find(lower(txn.sf:req_fhdr("accept")), "text/html", 1, true) ~= nil
end

return check
