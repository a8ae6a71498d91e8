-- Names of Java classes that run code when they are deserialized, plain and as parts of Base64.
local find, sub, gmatch, lower = string.find, string.sub, string.gmatch, string.lower

local java_names = {}

local GADGET_NAMES = {
  "InvokerTransformer", "InstantiateTransformer", "InstantiateFactory", "CloneTransformer", "ConstantTransformer",
  "ChainedTransformer", "PrototypeCloneFactory", "PrototypeSerializationFactory", "WhileClosure", "ForClosure",
  "TransformedMap", "LazyMap", "TemplatesImpl", "JdbcRowSetImpl", "BadAttributeValueExpException",
  "WrapperConnectionPoolDataSource", "PropertyPathFactoryBean", "UnicastRef", "AnnotationInvocationHandler",
  "MethodClosure", "BeanComparator", "JndiRefForwardingDataSource", "ScriptEngineManager", "ProcessBuilder",
  "JndiLoginModule", "JndiLookup",
}
java_names.gadgets = {}
for _, name in ipairs(GADGET_NAMES) do java_names.gadgets[lower(name)] = true end
-- Too common as plain words, yet nobody has a reason to write them in Base64 alone.
local HIDDEN_WORDS = { "runtime", "processbuilder" }

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

-- The letters that `word` yields in Base64 when `skip` bytes precede it, without those that depend on its neighbours.
local function base64_core(word, skip)
  local result, bits, count = {}, 0, 0
  local padded = string.rep("\0", skip) .. word
  for at = 1, #padded do
    bits, count = (bits << 8) | string.byte(padded, at), count + 8
    while count >= 6 do
      count = count - 6
      local index = (bits >> count) & 63
      result[#result + 1] = sub(ALPHABET, index + 1, index + 1)
    end
    bits = bits & ((1 << count) - 1)
  end
  return sub(table.concat(result), ({ [0] = 1, 3, 4 })[skip])
end

local HIDDEN, HIDDEN_WHOLE = {}, {}
for _, name in ipairs(GADGET_NAMES) do
  for skip = 0, 2 do
    HIDDEN[#HIDDEN + 1] = lower(base64_core(name, skip))
    HIDDEN[#HIDDEN + 1] = lower(base64_core(lower(name), skip))
  end
end
for _, word in ipairs(HIDDEN_WORDS) do
  for skip = 0, 2 do HIDDEN_WHOLE[#HIDDEN_WHOLE + 1] = lower(base64_core(word, skip)) end
end

local HEAD_BYTES = 5
local HEADS = {}
for _, word in ipairs(HIDDEN) do HEADS[sub(word, 1, HEAD_BYTES)] = true end
local RUN_BYTES_MAX = 160

-- Whether a name may begin within a short run of letters and digits.
local function has_head(run)
  for at = 1, #run - 8 do
    if HEADS[sub(run, at, at + HEAD_BYTES - 1)] then return true end
  end
  return false
end

local function first_of(text, list)
  for _, word in ipairs(list) do
    local at = find(text, word, 1, true)
    if at then return at end
  end
end

-- Where a hidden name stands: Base64 mixes small and capital letters within a run, unless the case is lost.
function java_names.hidden_at(text, has_case)
  if not find(text, has_case and "%l%d?%u" or "%w%w%w%w%w%w%w%w%w") then return nil end
  for run in gmatch(text, "%w%w%w%w%w%w%w%w%w+") do
    if not has_case or find(run, "%l%d?%u") then
      local plain = lower(run)
      local at = (#run > RUN_BYTES_MAX or has_head(plain)) and first_of(plain, HIDDEN)
        or #text <= 24 and first_of(plain, HIDDEN_WHOLE)
      if at then return at end
    end
  end
end

return java_names
