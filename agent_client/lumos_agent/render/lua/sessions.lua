-- Session cookies that arrive as parameters of a link: whoever made the link chose the session.
local sessions = {}

local find, gmatch, lower, match = string.find, string.gmatch, string.lower, string.match

-- Cookies of well-known frameworks: no page sends them as parameters.
local FRAMEWORKS = {}
for name in gmatch([[
phpsessid jsessionid jservsession jwsession aspsessionid asp.net_sessionid aspxauth connect.sid rack.session koa.sess
koa.sess.sig _rails_session laravel_session ci_session cakephp play_session zend_session_id sails.sid symfony
django_session weblogicsession session-id
]], "%S+") do
  FRAMEWORKS[name] = true
end
local function site_of(host)
  return match(host, "([^.]+%.[^.]+)$") or host
end

-- Whether no page of the site itself asks, as far as the request tells.
function sessions.is_foreign(referer, host)
  local page = match(lower(referer), "^https?://([^/:?#]+)")
  return not page or site_of(page) ~= site_of(match(lower(host), "^[^:]*"))
end

function sessions.is_session(name)
  if #name < 7 or not find(name, "[sSpP]") then return false end
  name = lower(name)
  return FRAMEWORKS[name] or find(name, "^__secure%-") ~= nil or find(name, "^__host%-") ~= nil
end

return sessions
