-- Functions and settings of PHP, by what calling or setting them means.
local names = {}

local function set(text)
  local result = {}
  for word in string.gmatch(text, "%S+") do result[word] = true end
  return result
end

-- Runs commands or code, or reads and writes files by name.
names.exec = set([[
system shell_exec passthru proc_open popen pcntl_exec exec eval assert create_function call_user_func
call_user_func_array
preg_replace_callback file_get_contents file_put_contents base64_decode gzinflate gzuncompress str_rot13 fopen fwrite
move_uploaded_file unserialize parse_ini_file highlight_file show_source readfile array_map array_filter usort
include include_once require_once md5_file curl_exec fsockopen pfsockopen symlink escapeshellcmd dl putenv
mb_ereg_replace
]])
names.info = set([[
phpinfo phpversion php_uname getcwd get_current_user getmypid sys_get_temp_dir get_cfg_var phpcredits
get_defined_vars
]])

-- Names that only PHP's library has: an underscore between these parts.
names.prefixes = set([[
array str base64 file get set is preg mb gz curl mysql mysqli pg odbc oci ldap session stream sodium openssl imap ftp
socket proc posix pcntl ob odbc sqlite sqlite3 xml zip iconv ctype date func ini apc apache dba db2 fdf ibase ifx
ifxus ingres
inotify mcrypt mhash msg ncurses newt openal pspell radius readline rrd shm shmop snmp spl ssh2 stats svn swoole sybase
tidy token udm uopz wincache win32 xattr xdiff xmlrpc yaml yaz zend zlib hash image html json mail move parse php
print register
rename restore scandir strip sys timezone trigger use utf8 var virtual assert bz call class convert create debug define
enchant exif fbsql filter forward geoip gmp gnupg highlight iterator jd kadm5 mailparse maxdb ming msql mssql notes
]])
names.words = set([[
chr ord printf sprintf vsprintf strrev strlen substr implode explode extract compact unlink mkdir rmdir chmod chown
rename copy
glob scandir opendir readdir fputs fputcsv fgets fread fileatime filemtime fileowner fileperms filesize gethostbyname
gethostname
getenv getmyuid phpcredits serialize sleep usleep constant define die exit error_log ini_set ini_get checkdate touch
tempnam tmpfile ucfirst ucwords urldecode rawurldecode htmlspecialchars nl2br number_format file link lstat stat
gettype settype is_int is_string is_array print_r var_dump passthru popen mail hebrev similar_text soundex metaphone
array_diff flock fputs ftok ftruncate hex2bin bin2hex dechex hexdec bindec pack unpack current end extract key prev
reset
each natsort shuffle range pos max min floor ceil round rand mt_rand levenshtein crypt md5 sha1 crc32 lcfirst ltrim
]])
names.settings = set([[
allow_url_fopen allow_url_include auto_prepend_file auto_append_file disable_functions disable_classes open_basedir
extension_dir safe_mode include_path display_errors error_log sendmail_path upload_tmp_dir user_ini enable_dl
zend_extension
error_prepend_string error_append_string output_handler unserialize_callback_func auto_detect_line_endings cgi doc_root
file_uploads variables_order register_globals short_open_tag implicit_flush arg_separator engine suhosin
hidden_parameters
]])
names.setting_groups = set([[
opcache mbstring session zend assert suhosin cgi mail xdebug apc soap pcre phar zlib date sqlite3 mysqli
pdo_mysql
]])

return names
