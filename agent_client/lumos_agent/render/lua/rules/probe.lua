-- Requests for files that nobody links to: keys, settings, backups and repositories left in a web folder.
local find, sub, match = string.find, string.sub, string.match

local MATCHED_BYTES = 128

local RULES = {
  secret = { id = "probe-secret", score = 6,
    why = "Asks for a file of settings, keys or passwords that pages never link to." },
  repository = { id = "probe-repository", score = 6, why = "Asks for the inside of a version control folder." },
  backup = { id = "probe-backup", score = 5, why = "Asks for the backup or editor's copy of a program." },
  console = { id = "probe-console", score = 4,
    why = "Asks for a page that shows the inside of a framework or runs code for tests." },
}

local function set(text)
  local result = {}
  for word in string.gmatch(text, "%S+") do result[word] = true end
  return result
end

local SECRETS = set([[
.env .env.local .env.production .env.development .env.backup .env.bak .env.old .env.save .htpasswd .htaccess .npmrc
.pypirc
.netrc .pgpass .my.cnf .bash_history .mysql_history .psql_history .dockercfg .git-credentials .s3cfg .boto id_rsa id_dsa
id_ecdsa id_ed25519 wp-config.php.bak web.config sftp-config.json credentials.json.bak docker-compose.yml.bak
]])
local FOLDERS = set(".git .svn .hg .bzr cvs")
local PARTS = set([[
config head index entries logs refs objects wc.db hooks info store
packed-refs description orig_head root
]])
local HOMES = set(".ssh .aws .kube .docker .gnupg .azure")
local ENDINGS = set("bak old orig save swp swo copy tmp")
local PROGRAMS = set("php php5 phtml asp aspx jsp py rb pl cgi ini conf yml yaml")
local CONSOLES = { "/actuator/env", "/actuator/heapdump", "/actuator/gateway/routes",
  "/phpunit/src/util/php/eval-stdin.php",
  "/_ignition/execute-solution", "/telescope/requests", "/_profiler/phpinfo", "/server-status", "/jolokia/exec",
  "/cgi-bin/php", "/druid/indexer/v1/sampler", "/wls-wsat/coordinatorporttype", "/debug/default/view" }

local function rule_of(path)
  local folder, name = match(path, "([^/]*)/([^/]+)/?$")
  name = name or match(path, "([^/]+)/?$")
  if not name then return nil end
  if SECRETS[name] then return RULES.secret end
  if folder and HOMES[folder] then return RULES.secret end
  if folder and FOLDERS[folder] and PARTS[name] then return RULES.repository end
  local stem, ending = match(name, "^(.+)%.(%w+)$")
  if ending and ENDINGS[ending] and PROGRAMS[match(stem, "%.(%w+)$") or ""] then return RULES.backup end
  if find(name, "^[%w_.-]+%.php~$") or find(name, "^%.[%w_-]+%.php%.sw[op]$") then return RULES.backup end
  for _, console in ipairs(CONSOLES) do
    if find(path, console, 1, true) then return RULES.console end
  end
end

local function judge(value, report)
  local rule = rule_of(value.text)
  if rule then report(rule, sub(value.text, 1, MATCHED_BYTES)) end
end

local function gate(value)
  if value.place ~= "path" or #value.text > 512 then return false end
  return find(value.text, "/[._]") ~= nil or find(value.text, "%.%w+%.%w+$") ~= nil or find(value.text, "[~_]") ~= nil
    or find(value.text, "/id_", 1, true) ~= nil or find(value.text, "/actuator/", 1, true) ~= nil
    or find(value.text, "/web.config", 1, true) ~= nil or find(value.text, "/%l+%-%l") ~= nil
    or find(value.text, "/druid/", 1, true) ~= nil or find(value.text, "/jolokia/", 1, true) ~= nil
end

return {
  group = "scanner", rules = RULES, gate = gate, judge = judge,
  about = "Requests for keys, settings, backups and repositories that nobody links to.",
}
