-- The clock of scripts, and dates as HTTP writes them (RFC 9110, 5.6.7). All times are UTC.
local args = require("script.args")
local now = require("script.now")

local times = {}

local MONTHS = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }
local DAYS = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }
local MONTH_NUMBERS = {}
for number, name in ipairs(MONTHS) do MONTH_NUMBERS[name] = number end

local function seconds() return now.at.request.time // 1 | 0 end

function times.now() return math.floor(now.at.request.time * 1000) / 1000 end

function times.time() return seconds() end

function times.update_time() end

function times.today() return os.date("!%Y-%m-%d", seconds()) end

function times.localtime() return os.date("!%Y-%m-%d %H:%M:%S", seconds()) end

times.utctime = times.localtime

local function dated(pattern, value)
  local at = os.date("!*t", value)
  return string.format(pattern, DAYS[at.wday], at.day, MONTHS[at.month], at.year, at.hour, at.min, at.sec)
end

function times.http_time(value) return dated("%s, %02d %s %04d %02d:%02d:%02d GMT", args.integer(value, 1, "http_time")) end

function times.cookie_time(value)
  local at = os.date("!*t", args.integer(value, 1, "cookie_time"))
  return string.format("%s, %02d-%s-%02d %02d:%02d:%02d GMT", DAYS[at.wday], at.day, MONTHS[at.month], at.year % 100, at.hour, at.min, at.sec)
end

-- Days from 1970 to a date (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
local function days_to(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = year // 400
  local year_of_era = year - era * 400
  local day_of_year = (153 * (month + (month > 2 and -3 or 9)) + 2) // 5 + day - 1
  return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468
end

function times.parse_http_time(value)
  value = args.text(value, 1, "parse_http_time")
  local day, month, year, hour, minute, second = string.match(value, "^%a%a%a, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
  local number = MONTH_NUMBERS[month or ""]
  if not number then return nil end
  local whole = math.tointeger
  return days_to(whole(tonumber(year)), number, whole(tonumber(day))) * 86400 + whole(tonumber(hour)) * 3600 + whole(tonumber(minute)) * 60 + whole(tonumber(second))
end

return times
