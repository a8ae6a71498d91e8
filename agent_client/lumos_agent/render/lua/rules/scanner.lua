-- Tools that look for weaknesses: what they call themselves, where they want to be called back, server-side includes.
local find, sub = string.find, string.sub

local MATCHED_BYTES = 128

local RULES = {
  agent = { id = "scanner-agent", score = 8, why = "The User-Agent is that of a tool that looks for weaknesses." },
  callback = { id = "scanner-callback", score = 7, why = "Names a host at which such tools wait for a call back." },
  include = { id = "scanner-ssi", score = 9, why = "A server-side include directive: <!--#exec … -->." },
}

local AGENTS = {
  "sqlmap", "nikto", "nessus", "arachni", "nuclei", "acunetix", "w3af", "openvas", "havij", "dirbuster", "gobuster",
  "wfuzz", "ffuf", "feroxbuster",
  "masscan", "nmap scripting", "nmap nse", "jaeles", "commix", "xsser", "wpscan", "joomscan", "skipfish",
  "netsparker", "appscan", "webinspect",
  "fimap", "zmeu", "dotdotpwn", "sqlninja", "bsqlbf", "n-stealth", "brutus/", "core-project/", "springenwerk",
  "grendel-scan", "jbrofuzz", "whatweb",
  "absinthe", "metis", "mysqloit", "sql power injector", "webtrends security analyzer", "whcc/", "vega/1",
  "dirsearch", "dalfox", "xspider", "cgichk",
  "burpsuite", "zaproxy", "owasp zap", "wapiti", "paros/", "hydra", "grabber", "nsauditor", "morfeus", "sqlsus",
  "toata dragostea", "uil2pn", "datacha0s",
}
local CALLBACKS = { ".burpcollaborator.net", ".oastify.com", ".interact.sh", ".oast.me", ".oast.fun", ".oast.pro",
  ".oast.live", ".oast.site", ".oast.online",
  ".bxss.me", ".dnslog.cn", ".ceye.io", ".requestrepo.com", ".canarytokens.com" }

local function judge(value, report)
  local text = value.text
  if value.place == "header" and value.name == "user-agent" then
    for _, agent in ipairs(AGENTS) do
      local at = find(text, agent, 1, true)
      if at and (at == 1 or find(text, "^[^%w]", at - 1)) and not find(text, "^%l", at + #agent) then
        report(RULES.agent, sub(text, at, at + MATCHED_BYTES - 1))
        break
      end
    end
  end
  for _, host in ipairs(CALLBACKS) do
    local at = find(text, host, 1, true)
    if at and not find(text, "^[%w.-]", at + #host) then
      return report(RULES.callback, sub(text, math.max(1, at - 40), at + #host - 1))
    end
  end
  local at = find(text, "<!%-%-%s*#%l%l%l%l+%f[^%w]") or find(text, "<!%-%-%s*#%l+%s+%l+%s*=")
  if at then report(RULES.include, sub(text, at, at + MATCHED_BYTES - 1)) end
end

local function gate(value)
  if value.place == "header" and value.name == "user-agent" then return true end
  local text = value.text
  if find(text, "<!--", 1, true) then return true end
  return #text >= 12 and (find(text, ".oast", 1, true) or find(text, ".burpc", 1, true) or find(text, ".interact", 1,
    true) or find(text, ".bxss", 1, true)
    or find(text, ".dnslog", 1, true) or find(text, ".ceye", 1, true) or find(text, ".requestrepo", 1, true)
    or find(text, ".canarytok", 1, true)) ~= nil
end

return {
  group = "scanner", rules = RULES, gate = gate, judge = judge,
  about = "Tools that look for weaknesses.",
}
