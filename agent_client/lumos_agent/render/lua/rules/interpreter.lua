-- Code for JavaScript, Python, Ruby, Perl and Lua interpreters on the server, and pollution of JavaScript's prototypes.
local find, sub, match = string.find, string.sub, string.match

local MATCHED_BYTES = 128

local RULES = {
  prototype = { id = "script-prototype", score = 7,
    why = "A name reaches __proto__ or constructor.prototype, which every object shares." },
  node = { id = "script-node", score = 9, why = "Loads a module of Node.js that runs programs or reads files." },
  constructor = { id = "script-constructor", score = 6,
    why = "Builds a function from text through constructor.constructor or new Function." },
  serialized = { id = "script-serialized", score = 9,
    why = "A serialized object that runs code when it is read (node-serialize, pickle, YAML)." },
  flight = { id = "script-flight", score = 8, why = "A React Flight reference leads to a prototype or constructor." },
  python = { id = "script-python", score = 8, why = "Python code that imports a module or runs a program." },
  ruby = { id = "script-ruby", score = 7, why = "Ruby code that runs a program or loads an object." },
  perl = { id = "script-perl", score = 7, why = "Perl evaluates what stands between @{[ and ]}." },
  lua = { id = "script-lua", score = 7, why = "Lua code that runs a program." },
  loop = { id = "script-loop", score = 4, why = "The value is a loop that never ends." },
  debug = { id = "script-probe", score = 3, why = "The value is a call of the console, as tests of evaluation are." },
  leave = { id = "script-leave", score = 6, why = "Leaves a JavaScript string and goes on with a statement." },
  lookup = { id = "script-lookup", score = 4,
    why = "A parameter's name walks through relations of an object mapper to a comparison." },
}

local NODE = { "child_process", "process.mainmodule", "process[mainmodule", "process.binding",
  "process[\"mainmodule", "process['mainmodule",
  "require.main", "global.process", "globalthis.process", "module.constructor._load", "this.process.",
  "process.dlopen" }
local NODE_CALLS = { "require(", "import(", ".readfilesync(", ".writefilesync(", ".execsync(", ".spawnsync(",
  "fs.readfile", "fs.readdir", "process.env",
  ".constructor._load(" }
local PYTHON = { "__import__(", "os.system(", "os.popen(", "subprocess.popen(", "subprocess.call(",
  "subprocess.check_output(", "subprocess.run(",
  "builtins__", "pty.spawn(", "__reduce__", "importlib.import_module(", "commands.getoutput(" }
local RUBY = { "process.spawn(", "io.popen(", "kernel.exec", "kernel.system", "open3.", "marshal.load",
  "kernel.open", "pty.spawn(", "kernel.fork",
  "process.exec(", ".instance_eval", "erb.new(", "kernel.spawn", "object.const_get" }
local LUA = { "os.execute(", "io.popen(", "package.loadlib(", "ngx.say(io" }
local SERIALIZED = { "_$$nd_func$$_", "!!python/object", "cos\nsystem\n", "cposix\nsystem\n", "c__builtin__\n",
  "csubprocess\n", "!ruby/object:gem",
  "!ruby/hash:", "__js_function" }
local LOOKUPS = { startswith = true, istartswith = true, endswith = true, iendswith = true, contains = true,
  icontains = true, regex = true,
  iregex = true, has_key = true, has_keys = true, has_any_keys = true, gt = true, gte = true, lt = true, lte = true,
    exact = true, iexact = true }

local function has(text, mark)
  return find(text, mark, 1, true) ~= nil
end

local function snippet(text, at)
  return sub(text, at, at + MATCHED_BYTES - 1)
end

local function first_of(text, marks)
  for _, mark in ipairs(marks) do
    local at = find(text, mark, 1, true)
    if at then return at end
  end
end

local function is_prototype(text)
  return find(text, "__proto__%s*[%]%.:\"'[=]") ~= nil or find(text, "%[%s*['\"]?__proto__") ~= nil
    or text == "__proto__"
    or find(text, "^__proto__") ~= nil or find(text, "constructor%s*[%.%[]['\"]?%s*prototype%s*['\"]?[%]%.%[=]") ~= nil
    or find(text, "constructor[\"']?%s*:%s*{%s*[\"']prototype") ~= nil or find(text, "constructor[prototype]", 1,
    true) ~= nil
end

local function judge_prototype(value, report)
  for _, text in ipairs({ value.text, value.name }) do
    if (find(text, "__proto__", 1, true) or find(text, "prototype", 1, true)) and is_prototype(text) then
      local at = find(text, "__proto__", 1, true) or find(text, "constructor", 1, true)
      return report(RULES.prototype, snippet(text, at))
    end
  end
end

local function judge_node(value, report)
  local text = value.text
  local at = first_of(text, NODE)
  if at and (find(text, "[(%[]", at) or #text < 64) and not find(text, "child_process [%l]+ ", 1) then
    return report(RULES.node, snippet(text, at))
  end
  at = first_of(text, NODE_CALLS)
  if at and (find(text, "require%(%s*['\"`]?[%a_:]+['\"`]?%s*%)%s*[.%[]")
    or find(text, "import%(['\"`][%a_:]+['\"`]%)%s*[.%[]")
    or find(text, "filesync%(['\"/]") or find(text, "%._load%(") or find(text, "[nc]sync%(['\"]")
    or find(text, "^process%.env[%[.]", at)) then
    return report(RULES.node, snippet(text, at))
  end
  at = find(text, "constructor.constructor", 1, true) or find(text, "[\"constructor\"]", 1, true)
    or find(text, "['constructor']", 1, true)
    or find(text, "^%s*new%s+function%s*%(")
  if at then report(RULES.constructor, snippet(text, at)) end
end

local function judge_languages(value, report)
  local text = value.text
  local at = first_of(text, PYTHON)
  if at then report(RULES.python, snippet(text, at)) end
  at = first_of(text, RUBY)
  if at and (find(text, "%f[%w]%l+%d?[%.]%l+[%s(]*['\"`%[%w(|/]", at)) then report(RULES.ruby, snippet(text, at)) end
  at = first_of(text, LUA)
  if at then report(RULES.lua, snippet(text, at)) end
end

local function judge_short(value, report)
  local text = value.text
  if find(text, "^%s*while%s*%([%s%(!+%-]*[%w\"'`%[{}%]]*%)*[%s;){}]*$") and not find(text, "^%s*while%s*%([%l]+%)[^;]")
    and find(text, "^%s*while%s*%([%s(]*[!%d+%-t\"'`]") then
    return report(RULES.loop, snippet(text, 1))
  end
  if find(text, "^%s*console%.%l+%.?%l*%s*%([%w,'\"%s]*%)[%s;]*$") or find(text, "^%s*console%.%l+%(") then
    return report(RULES.debug, snippet(text, 1))
  end
end

local function judge_leave(value, report)
  local text = sub(value.text, 1, 400)
  local at, stop = find(text, "%f['\")}%];]['\")}%]]*;%s*%l+[%s=({]")
  if at and (at == 1 or find(text, "^[%w%s]*['\")}]*;")) and at <= 24 then
    local rest = sub(text, at, stop + 160)
    if find(rest, "^['\")}%]]*;%s*return[%s(]*['\"%w]") and find(rest, "[=;(]", 9)
      or find(rest, "^['\")}%]]*;%s*sleep%(%d+%)%s*;")
      or find(rest, "do%s*{[^}]*}%s*while%s*%(") or find(rest, "^['\")}%]]*;%s*while%s*%(%s*[%d!t]") then
      return report(RULES.leave, snippet(text, at))
    end
  end
  at = has(value.text, "this.") and find(value.text, "['\"]%s*[&|][&|]%s*this%.%w+")
  if at then report(RULES.leave, snippet(text, at)) end
end

local function judge_lookup(value, report)
  local name = value.place == "name" and value.text or value.name
  if #name > 128 then return end
  local lookup = match(name, "^[%w_]-%l__[%w_]-%l__(%l[%l_]*)$")
  while lookup and find(lookup, "__", 1, true) do lookup = match(lookup, "__(.*)$") end
  if lookup and LOOKUPS[lookup] then report(RULES.lookup, snippet(name, 1)) end
end

local function judge(value, report)
  local text = value.text
  local at = first_of(text, SERIALIZED)
  if at then report(RULES.serialized, snippet(text, at)) end
  judge_prototype(value, report)
  at = has(text, "$") and (has(text, ":prototype") and find(text, "%$%w+:[%w_:]*prototype") or has(text, ":constructor")
    and find(text, "%$%w+:[%w_:]*constructor") or has(text, ":__proto__") and find(text, "%$%w+:__proto__"))
  if at then report(RULES.flight, snippet(text, at)) end
  if has(text, "(") or has(text, "[") or find(text, "process", 1, true) or find(text, "constructor", 1, true)
    then judge_node(value, report) end
  if find(text, ".", 1, true) or find(text, "__", 1, true) then judge_languages(value, report) end
  at = has(text, "@") and find(text, "@%s*{%s*%[%s*[%w&$%(@+\"'\\]")
  if at and not find(sub(text, at, at + 300), "%]%s*}") then at = nil end
  if at then report(RULES.perl, snippet(text, at)) end
  if #text <= 96 then judge_short(value, report) end
  if find(text, ";", 1, true) or find(text, "this.", 1, true) then judge_leave(value, report) end
  if value.place == "name" or find(value.name, "__", 1, true) then judge_lookup(value, report) end
end

local function gate(value)
  local text = value.text
  if #text > 512 then return true end
  return find(text, "[({%[]") ~= nil or find(text, "__", 1, true) ~= nil or find(value.name, "__", 1, true) ~= nil
    or find(text, "!!", 1, true) ~= nil or find(text, "\nsystem\n", 1, true) ~= nil or find(value.name, "prototype",
    1, true) ~= nil
    or find(text, "constructor", 1, true) ~= nil or find(text, "process.", 1, true) ~= nil
    or find(text, "_$$", 1, true) ~= nil
    or find(text, "['\"];") ~= nil
end

return {
  group = "script", rules = RULES, gate = gate, judge = judge, words = true,
  about = "Code for JavaScript, Python, Ruby, Perl or Lua on the server.",
}
