-- References to characters that XML and HTML define, in lower case: anything else was declared by a document type.
local entity_names = {}

local find, gmatch = string.find, string.gmatch

local NAMES = {}
for name in gmatch([[
acute aelig alefsym alpha amp and ang apos ast asymp bdquo beta brvbar bsol bull cap cedil cent check chi circ clubs
colon comma commat cong copy crarr cup curren dagger darr deg delta diams divide dollar empty emsp ensp epsilon
equals equiv eta eth euro excl exist fnof forall frac12 frac14 frac34 frasl gamma ge grave gt harr hearts hellip
hyphen iexcl image infin int iota iquest isin kappa lambda lang laquo larr lbrace lceil lcub ldquo le lfloor lowast
lowbar loz lpar lrm lsaquo lsqb lsquo lt macr mdash micro middot minus mu nabla nbsp ndash ne newline ni not notin
nsub nu num oelig oline omega omicron oplus or ordf ordm otimes para part percnt period permil perp phi phone pi piv
plus plusmn pound prime prod prop psi quest quot radic rang raquo rarr rbrace rceil rcub rdquo real reg rfloor rho
rlm rpar rsaquo rsqb rsquo sbquo sdot sect semi shy sigma sigmaf sim sol spades star sub sube sum sup sup1 sup2 sup3
supe szlig tab tau there4 theta thetasym thinsp thorn tilde times trade uarr uml upsih upsilon verbar vert weierp xi
yen zeta zwj zwnj
]], "%S+") do
  NAMES[name] = true
end
local ACCENTS = { acute = true, grave = true, circ = true, uml = true, tilde = true, ring = true, cedil = true, slash = true, caron = true }

function entity_names.is_character(name)
  local _, _, accent = find(name, "^%l(%l+)$")
  return NAMES[name] or ACCENTS[accent] or false
end

return entity_names
