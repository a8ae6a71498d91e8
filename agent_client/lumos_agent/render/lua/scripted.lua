-- Binds the customers' own Lua to HAProxy: finds a domain's program, runs it on a request, does what it decided.
local dict = require("script.dict")
local remote = require("script.remote")
local run = require("script.run")

local scripted = {}

local match = string.match

-- Of programs that are kept; what they become takes several times as much.
local PROGRAM_BYTES_MAX = 16 * 1024 * 1024
-- Of log lines in an event.
local LOG_BYTES_MAX = 400
-- A script that fails, or logs, says so for one request in this time, per thread and domain.
local TELL_SECONDS = 60
local WARN = 5
local DICT_THREAD = 1
local BLOCKS, LIMITS = 403, 429

local parts = Map.new("maps/script_parts.map", Map._str)
local scripts = Map.new("maps/scripts.map", Map._str)
local programs, kept_bytes = {}, 0
local shares, told = {}, {}
local info

function scripted.seconds()
  local now = core.now()
  return now.sec + now.usec / 1000000
end

local function load_parts(txn, name, count)
  local texts = {}
  for number = 1, count do
    local part = parts:lookup(name .. ":" .. number)
    if not part then return nil, "script: its program is not there" end
    texts[number] = txn.c:b64dec(part)
  end
  local text = table.concat(texts)
  local program, problem = run.load(text)
  return program, problem, #text
end

-- Returns {program, problem}; what was read once is kept.
local function program_of(txn, name, count)
  local known = programs[name]
  if known then return known end
  local program, problem, bytes = load_parts(txn, name, tonumber(count))
  known = { program = program, problem = problem, is_missing = not bytes }
  -- Parts that are not there yet may come.
  if not bytes then return known end
  if kept_bytes + bytes > PROGRAM_BYTES_MAX then programs, kept_bytes = {}, 0 end
  programs[name], kept_bytes = known, kept_bytes + bytes
  return known
end

-- HAProxy numbers the values of a header from 0.
local function headers_of(txn)
  local list = {}
  for name, all in pairs(txn.http:req_get_headers()) do
    for index = 0, #all do list[#list + 1] = { name, all[index] } end
  end
  return list
end

local READERS = {
  method = function(txn) return txn.sf:method() end,
  path = function(txn) return txn.sf:path() end,
  query = function(txn) return txn.sf:query() end,
  headers = headers_of,
  body = function(txn) return txn.f:req_body() end,
  address = function(txn) return txn.sf:src() end,
  port = function(txn) return txn.sf:src_port() end,
  server_address = function(txn) return txn.sf:dst() end,
  server_port = function(txn) return txn.sf:dst_port() end,
  scheme = function(txn) return txn.f:ssl_fc() == 1 and "https" or "http" end,
  version = function(txn) return txn.sf:req_ver() end,
  id = function(txn) return txn.sf:unique_id() end,
  country = function(txn) return match(txn:get_var("txn.country") or "", "^country:(%u%u)$") end,
  time = function() return scripted.seconds() end,
}

-- The parts of a request, each read when it is asked for.
local function request_of(txn)
  return setmetatable({}, { __index = function(request, name)
    local read = READERS[name]
    local value = read and read(txn)
    rawset(request, name, value)
    return value
  end })
end

local function host_of(txn, domain)
  local connection
  local keeps = core.thread <= DICT_THREAD
  local host = { keeps = keeps, now = scripted.seconds }
  if keeps then
    function host.dict(...) return dict.work(scripted.seconds(), domain, ...) end
  else
    function host.dict(...)
      connection = connection or remote.open(txn:get_var("txn.script_dictionaries"))
      return remote.ask(connection, domain, ...)
    end
  end
  return host, function() if connection then connection:close() end end
end

local function is_time_to_tell(domain, what)
  local key, now = domain .. what, core.now().sec
  if told[key] and now - told[key] < TELL_SECONDS then return false end
  told[key] = now
  return true
end

local CHANGES = {
  method = function(http, name) http:req_set_method(name) end,
  path = function(http, path) http:req_set_path(path) end,
  query = function(http, query) http:req_set_query(query) end,
  header = function(http, name, values)
    http:req_del_header(name)
    for _, value in ipairs(values) do http:req_add_header(name, value) end
  end,
}

-- Remembers what the answer needs, of the script itself or of the origin, over what others remember of the request.
local function remember(txn, at, name)
  txn:set_priv(setmetatable({ script = at }, { __index = txn:get_priv() }))
  txn:set_var(name, true)
end

-- The lines that are worth an event, or nil.
local function logged(at)
  local lines = {}
  for _, one in ipairs(at.logs) do
    if one.severity <= WARN then lines[#lines + 1] = "[" .. one.level .. "] " .. one.text end
  end
  return lines[1] and string.sub(table.concat(lines, "\n"), 1, LOG_BYTES_MAX)
end

local function answered(txn, at, tell)
  local status = at.status or 200
  if at.kind == "drop" then
    txn:set_var("txn.script_drops", true)
    tell("block", "script", logged(at))
  elseif (status == BLOCKS or status == LIMITS) and #at.body == 0 and not next(at.headers) then
    tell(status == BLOCKS and "block" or "limit", "script", logged(at))
  else
    if status >= 400 then tell(status == LIMITS and "limit" or "block", "script", logged(at)) end
    remember(txn, at, "txn.script_answers")
  end
end

local function passed(txn, at, domain, tell)
  for _, one in ipairs(at.changes) do CHANGES[one[1]](txn.http, one[2], one[3]) end
  if next(at.headers) then remember(txn, at, "txn.script_headers") end
  local lines = logged(at)
  if lines and is_time_to_tell(domain, "log") then tell("detect", "script-log", lines) end
end

local function failed(txn, failure, domain, fails, tell)
  if fails == "closed" then txn:set_var("txn.script_closed", true) end
  if is_time_to_tell(domain, "failure") then
    tell(fails == "closed" and "block" or "detect", "script-error", failure)
  end
end

-- The program that a value of scripts.map names. Its parts go when another one took its place, maybe while this request
-- waited for a processor: then that one counts; nil if the script was switched off.
local function program_for(txn, domain)
  local value = txn:get_var("txn.script")
  local known = program_of(txn, match(value, "(%x+) (%d+)$"))
  if not known.is_missing then return known end
  local now = scripts:lookup(domain)
  return now and now ~= value and program_of(txn, match(now, "(%x+) (%d+)$")) or now and known
end

local function decide(txn, domain, fails, tell)
  local known = program_for(txn, domain)
  if not known then return end
  if not known.program then return failed(txn, known.problem, domain, fails, tell) end
  info = info or core.get_info()
  run.use_threads(tonumber(info.Nbthread) or 1)
  shares[domain] = shares[domain] or {}
  local host, close = host_of(txn, domain)
  local at = run.run(known.program, request_of(txn), host, shares[domain])
  close()
  if at.failure then return failed(txn, at.failure, domain, fails, tell) end
  if at.kind == "pass" then return passed(txn, at, domain, tell) end
  answered(txn, at, tell)
end

-- `tell(action, rule, matched)` makes an event of this request. An error of the engine itself counts as one of the script.
function scripted.examine(txn, tell)
  local domain, fails = txn:get_var("txn.domain"), match(txn:get_var("txn.script"), "^%l+ (%l+)")
  local ok, problem = pcall(decide, txn, domain, fails, tell)
  if not ok then failed(txn, "script: " .. tostring(problem), domain, fails, tell) end
end

-- Sends what a script answered.
function scripted.answer(txn)
  local at = txn:get_priv().script
  local body = table.concat(at.body)
  local reply = txn:reply({ status = at.status or 200 })
  if not at.headers["content-type"] and body ~= "" then reply:add_header("Content-Type", "text/plain; charset=utf-8") end
  for _, header in pairs(at.headers) do
    for _, value in ipairs(header.values) do reply:add_header(header.name, value) end
  end
  reply:set_body(body)
  txn:done(reply)
end

-- Puts what a script set into the origin's answer.
function scripted.add_headers(txn)
  for _, header in pairs(txn:get_priv().script.headers) do
    txn.http:res_del_header(header.name)
    for _, value in ipairs(header.values) do txn.http:res_add_header(header.name, value) end
  end
end

return scripted
