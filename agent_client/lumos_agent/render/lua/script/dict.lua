-- The shared dictionaries (ngx.shared) of all domains. One thread of HAProxy holds them: it works on them directly, the
-- others ask it (script/remote.lua), so that every operation is one moment for all. They live as long as the worker.
local dict = {}

local VALUE_BYTES_MAX = 64 * 1024
local KEY_BYTES_MAX = 1024
-- What an entry costs beside its key and value.
local ENTRY_BYTES = 450
-- For one dictionary of one domain, and how many of them a domain may have.
local BYTES_MAX, DICTS_MAX = 1024 * 1024, 8
local ALL_BYTES_MAX = 64 * 1024 * 1024
local KEYS_MAX = 1024

local domains = {}
local all_bytes = 0

-- Entries are in a ring by the time of their last use: `head.next` is the oldest.
local function new_store()
  local head = {}
  head.next, head.previous = head, head
  return { entries = {}, head = head, bytes = 0, count = 0 }
end

local function unlink(entry)
  entry.previous.next, entry.next.previous = entry.next, entry.previous
end

local function link(store, entry)
  local head = store.head
  entry.previous, entry.next = head.previous, head
  head.previous.next, head.previous = entry, entry
end

local function drop(store, entry)
  unlink(entry)
  store.entries[entry.key] = nil
  store.bytes, store.count = store.bytes - entry.size, store.count - 1
  all_bytes = all_bytes - entry.size
end

local function live(store, key, now)
  local entry = store.entries[key]
  if entry and entry.expires and entry.expires <= now then return nil end
  return entry
end

local function store_of(domain, name)
  local stores = domains[domain]
  if not stores then
    stores = { count = 0 }
    domains[domain] = stores
  end
  local store = stores[name]
  if not store and stores.count < DICTS_MAX then
    store = new_store()
    stores[name], stores.count = store, stores.count + 1
  end
  return store
end

local function size_of(key, value) return ENTRY_BYTES + #key + (type(value) == "string" and #value or 8) end

-- Makes room; `safely` refuses to drop what has not expired. Returns whether something that lived had to go.
local function room_for(store, size, now, safely)
  local forcible = false
  while store.bytes + size > BYTES_MAX or all_bytes + size > ALL_BYTES_MAX do
    local oldest = store.head.next
    if oldest == store.head then return nil end
    local is_live = not (oldest.expires and oldest.expires <= now)
    if is_live and safely then return nil end
    forcible = forcible or is_live
    drop(store, oldest)
  end
  return true, forcible
end

local function put(store, key, value, seconds, flags, now, safely)
  local known = store.entries[key]
  if value == nil then
    if known then drop(store, known) end
    return true, nil, false
  end
  if known then drop(store, known) end
  local size = size_of(key, value)
  local has_room, forcible = room_for(store, size, now, safely)
  if not has_room then return false, "no memory", false end
  local entry = { key = key, value = value, size = size, flags = flags, expires = seconds and seconds > 0 and now + seconds or nil }
  store.entries[key] = entry
  store.bytes, store.count, all_bytes = store.bytes + size, store.count + 1, all_bytes + size
  link(store, entry)
  return true, nil, forcible
end

local function touch(store, entry)
  unlink(entry)
  link(store, entry)
end

local operations = {}

function operations.get(store, now, key)
  local entry = live(store, key, now)
  if not entry then return nil end
  touch(store, entry)
  return entry.value, entry.flags
end

function operations.get_stale(store, now, key)
  local entry = store.entries[key]
  if not entry then return nil end
  return entry.value, entry.flags, entry.expires ~= nil and entry.expires <= now
end

function operations.set(store, now, key, value, seconds, flags) return put(store, key, value, seconds, flags, now) end

function operations.safe_set(store, now, key, value, seconds, flags) return put(store, key, value, seconds, flags, now, true) end

function operations.add(store, now, key, value, seconds, flags)
  if live(store, key, now) then return false, "exists", false end
  return put(store, key, value, seconds, flags, now)
end

function operations.safe_add(store, now, key, value, seconds, flags)
  if live(store, key, now) then return false, "exists", false end
  return put(store, key, value, seconds, flags, now, true)
end

function operations.replace(store, now, key, value, seconds, flags)
  if not live(store, key, now) then return false, "not found", false end
  return put(store, key, value, seconds, flags, now)
end

function operations.delete(store, now, key) return put(store, key, nil, nil, nil, now) end

function operations.incr(store, now, key, step, initial, seconds)
  local entry = live(store, key, now)
  if not entry then
    if not initial then return nil, "not found" end
    local ok, problem, forcible = put(store, key, initial + step, seconds, nil, now)
    if not ok then return nil, problem end
    return initial + step, nil, forcible
  end
  if type(entry.value) ~= "number" then return nil, "not a number" end
  entry.value = entry.value + step
  touch(store, entry)
  return entry.value
end

function operations.ttl(store, now, key)
  local entry = live(store, key, now)
  if not entry then return nil, "not found" end
  return entry.expires and entry.expires - now or 0
end

function operations.expire(store, now, key, seconds)
  local entry = live(store, key, now)
  if not entry then return nil, "not found" end
  entry.expires = seconds > 0 and now + seconds or nil
  return true
end

function operations.flush_all(store)
  while store.head.next ~= store.head do drop(store, store.head.next) end
end

-- Looks at the entries that were not used for the longest time.
function operations.flush_expired(store, now, most)
  local entry, gone, seen = store.head.next, 0, 0
  while entry ~= store.head and seen < KEYS_MAX and (most == 0 or gone < most) do
    local following = entry.next
    if entry.expires and entry.expires <= now then
      drop(store, entry)
      gone = gone + 1
    end
    entry, seen = following, seen + 1
  end
  return gone
end

-- At most 1024 keys, the latest first; they are joined by lengths for the way between threads.
function operations.get_keys(store, now, most)
  local keys, entry = {}, store.head.previous
  most = most > 0 and math.min(most, KEYS_MAX) or KEYS_MAX
  while entry ~= store.head and #keys < most do
    if live(store, entry.key, now) then keys[#keys + 1] = string.pack("<s4", entry.key) end
    entry = entry.previous
  end
  return table.concat(keys)
end

function operations.free_space(store) return BYTES_MAX - store.bytes end

dict.CAPACITY = BYTES_MAX
dict.VALUE_BYTES_MAX, dict.KEY_BYTES_MAX = VALUE_BYTES_MAX, KEY_BYTES_MAX

-- Carries out one operation at a time, in seconds.
function dict.work(now, domain, name, operation, ...)
  local store = store_of(domain, name)
  if not store then return nil, "a domain has at most " .. DICTS_MAX .. " dictionaries" end
  return operations[operation](store, now, ...)
end

return dict
