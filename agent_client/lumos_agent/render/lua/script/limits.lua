-- What a customer's script may use. Its own program calls `spend` every few words (script/compiler.py), the functions
-- that it is given call it for what they do, and whoever is over a limit is left where it stands: it yields and is never
-- resumed, so that no pcall of the script's own can go on.
local limits = {}

local clock, collected, yield = os.clock, collectgarbage, coroutine.yield

-- What leaves a script to the engine, through any number of coroutines of its own.
limits.SIGNAL = {}

-- A step is about a word of the script, or 16 bytes of text.
local STEPS = 100000
local SECONDS = 0.003
local MEMORY_KB = 4096
limits.TEXT_BYTES = 256 * 1024
-- How many steps pass between two looks at clock and memory: fewer while much memory makes single steps dear.
local LOOK, LOOK_LARGE, LARGE_KB = 256, 32, 512
-- What is free for each run, and what beyond it a domain may spend on one thread: seconds at once, and of each second.
-- So a slow script delays others seldom, and a quick one is never refused.
local FREE_SECONDS, SHARE_SECONDS, SHARE = 0.0001, 0.005, 0.05
-- The clock also counts what other threads do while this one waits for a processor: one run in so many seconds that takes
-- more than is left is taken for that, or an honest script were refused for what it did not do.
local SPARED_SECONDS = 1
-- What a step takes at least, and what it costs everybody later to collect a KB of garbage.
local STEP_SECONDS = 0.000000025
local COLLECTING_SECONDS = 0.000001
limits.SHARE_USED = "the script has used up its share of processor time"

local left, quantum = 0, LOOK
local run
local threads, most_seconds = 1, SECONDS

-- The clock counts what all threads of the process do. `count` of them work: with many, a run that shares the machine with
-- all others may not be cut for their work.
function limits.use_threads(count)
  threads, most_seconds = count, SECONDS * math.max(1, count / 8)
end

local function stop(failure)
  run.failure, left = failure, -1
  yield(limits.SIGNAL, "stop")
  error(failure, 0)
end

local function look()
  if run.failure then stop(run.failure) end
  run.steps = run.steps + quantum - left
  local grown = collected("count") - run.memory
  if run.steps > STEPS then stop("the script takes more than " .. STEPS .. " steps") end
  if grown > MEMORY_KB then stop("the script needs more than " .. MEMORY_KB .. " KB of memory") end
  if clock() - run.began > most_seconds then stop("the script takes more than 3 ms of processor time") end
  quantum = grown > LARGE_KB and LOOK_LARGE or LOOK
  left = quantum
end

function limits.spend(steps)
  left = left - steps
  if left < 0 then look() end
end

-- Pays for `bytes` of text that a function makes, before it makes them.
function limits.make(bytes)
  if bytes > limits.TEXT_BYTES then error("a text may have " .. limits.TEXT_BYTES .. " bytes, this one would have " .. math.floor(bytes), 3) end
  left = left - 1 - bytes // 16
  if left < 0 then look() end
end

-- Begins a run of a domain, or returns nil if it may not run now. `share`: {left, at}, kept between its runs; `now` is the
-- time in seconds.
function limits.begin(share, now)
  share.left = math.min((share.left or SHARE_SECONDS) + (now - (share.at or now)) * SHARE, SHARE_SECONDS)
  share.at = now
  if share.left <= 0 then return nil end
  return { steps = 0, spent = 0, grown = 0, share = share }
end

-- Makes `started` the run that is metered, until `leave`.
function limits.enter(started)
  run = started
  run.began, run.memory = clock() - run.spent, collected("count") - run.grown
  left, quantum = LOOK, LOOK
end

function limits.leave()
  run.steps = run.steps + quantum - left
  run.spent, run.grown = clock() - run.began, collected("count") - run.memory
  left = -1
end

-- Ends a run: what it took beyond what is free is taken from the domain's share.
function limits.finish(ended)
  local working = math.max(ended.spent / threads, ended.steps * STEP_SECONDS)
  local taken = working + math.max(ended.grown, 0) * COLLECTING_SECONDS - FREE_SECONDS
  if taken <= 0 then return end
  local share = ended.share
  if taken > share.left and share.at - (share.spared or -SPARED_SECONDS) >= SPARED_SECONDS then
    share.spared = share.at
  else
    share.left = share.left - taken
  end
end

return limits
