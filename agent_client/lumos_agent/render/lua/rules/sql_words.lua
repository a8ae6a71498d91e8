-- The vocabulary of the SQL lexer: what the words of MySQL, PostgreSQL, SQL Server, Oracle, SQLite and their kin mean.
local words = {}

local function set(kind, text, into)
  for word in string.gmatch(text, "%S+") do into[word] = kind end
end

-- Kinds of words; every other word is "w", or "g" before a parenthesis.
words.KIND = {}
set("U", "union intersect except minus", words.KIND)
set("S", "select", words.KIND)
set("T", [[
  insert update delete drop alter create truncate exec execute declare shutdown waitfor call grant revoke
  replace merge backup restore copy attach begin load handler rename do dbcc kill reconfigure bulk prepare
  vacuum
]], words.KIND)
set("F", "from", words.KIND)
set("W", "where", words.KIND)
set("H", "having", words.KIND)
set("L", "limit offset fetch", words.KIND)
set("I", "into", words.KIND)
set("&", "and or xor", words.KIND)
set("!", "not exists any some all distinct distinctrow binary", words.KIND)
set("=", [[
  like rlike regexp between in is ilike similar glob match contains soundslike against
]], words.KIND)
set("+", "div mod collate escape", words.KIND)
set("n", [[
  null isnull notnull true false current_user current_date current_timestamp session_user system_user sysdate
  user_name
]], words.KIND)
set("C", "case", words.KIND)
set("Q", "when then else end", words.KIND)
set("P", "procedure", words.KIND)
set("B", "by", words.KIND)
set("O", "order group", words.KIND)
set("k", [[
  as on join inner outer left right natural using set values table database function delay asc desc with
]], words.KIND)

-- Functions whose call alone is an attack's purpose: they wait, read files, run programs, talk to other hosts or leak
-- data through error messages.
words.LOUD = {}
set(true, [[
  sleep benchmark pg_sleep pg_sleep_for pg_sleep_until extractvalue updatexml load_file xp_cmdshell xp_dirtree
  xp_fileexist xp_regread xp_regwrite xp_subdirs xp_servicecontrol sp_oacreate sp_oamethod sp_execute
  sp_executesql sp_makewebtask sp_addextendedproc openrowset openquery opendatasource randomblob load_extension
  name_const get_host_address get_host_name receive_message drithsx xmltype httpuritype dblink dblink_connect
  lo_import lo_export pg_read_file pg_ls_dir pg_stat_file pg_read_binary_file query_to_xml database_to_xml
  table_to_xml make_set gtid_subset gtid_subtract st_latfromgeohash st_longfromgeohash st_pointfromgeohash
  fn_varbintohexstr fn_trace_gettable regexp_substring is_srvrolemember getmappingxpath sys_eval sys_exec
  sqlite_version sys_context fn_xe_file_target_read_file
]], words.LOUD)

-- Oracle's packages of such functions.
words.PACKAGE = {}
set(true, [[
  utl_inaddr utl_http utl_file utl_smtp dbms_pipe dbms_lock dbms_xmlgen dbms_ldap dbms_java dbms_export_extension
  dbms_utility dbms_assert ctxsys ordsys
]], words.PACKAGE)

-- Functions of everyday SQL that injections compare or concatenate; they count inside an expression only.
words.FUNCTION = {}
set(true, [[
  ascii substring substr mid ord hex unhex char chr nchar concat concat_ws group_concat version database user
  schema current_user session_user system_user db_name db_id user_name user_id suser_name suser_sname host_name
  object_id object_name col_name convert cast count length len char_length lower upper lpad rpad left right
  ltrim rtrim trim replace reverse if iif ifnull nullif isnull nvl decode coalesce greatest least row elt floor
  ceil rand round bin conv md5 sha1 sha2 password encode abs exp pow power sqrt sign pi ln log mod instr locate
  position field find_in_set strcmp quote repeat space soundex format stuff str unicode to_char to_number
  to_date rownum typeof json_extract json_keys json_value json string_agg array_agg listagg xmlagg xmlelement
  xmlconcat generate_series current_setting current_database current_schema inet_server_addr quote_ident
  row_to_json array_to_string now curdate curtime sysdate last_insert_id row_count found_rows connection_id
  polygon multipoint multilinestring multipolygon linestring geometrycollection point uuid from_base64 to_base64
  compress aes_encrypt des_encrypt sin cos tan cot atan degrees radians day month year week hour minute second
  quarter time date makedate json_valid lo_get starts_with overlay jsonb_pretty json_array json_object
  bit_length octet_length insert export_set binary_checksum checksum newid getdate dateadd datediff datepart
  isnumeric max min sum avg raise_error raiserror total printf likelihood zeroblob analyse values bitand
  rotateleft rawtohex hextoraw translate dump extract
]], words.FUNCTION)

-- Tables and variables that describe a database to itself.
words.CATALOGUE = {}
set(true, [[
  information_schema sysobjects syscolumns sysusers sysdatabases systables pg_catalog pg_shadow pg_user
  pg_tables pg_class pg_database pg_roles pg_authid sqlite_master sqlite_schema sqlite_temp_master all_tables
  user_tables user_tab_columns all_tab_columns all_users dba_users dba_tables v$version v$instance v$session
  user_objects all_objects sysibm syscat sysdummy1 sysmaster msysobjects msysaces rdb$fields rdb$relations
  user_role_privs dba_role_privs master..sysdatabases mysql.user proc_priv innodb_table_stats innodb_index_stats
  table_schema sysprocesses syslogins svv_tables stv_sessions
  user_constraints all_constraints xp_cmdshell sp_password fn_varbintohexstr nls_session_parameters
  all_tab_privs user_tab_privs msysqueries msysrelationships database_principals sql_logins syspriv tempdb msdb
  msysaccessobjects utl_http utl_inaddr dbms_pipe openrowset xp_regread xp_dirtree sp_executesql sp_oacreate
]], words.CATALOGUE)

-- Types to which PostgreSQL's injections cast.
words.TYPE = {}
set(true, "int integer bigint numeric text varchar char json jsonb xml date bool boolean bytea regclass", words.TYPE)

-- Server variables of MySQL and SQL Server.
words.VARIABLE = {}
set(true, [[
  version hostname basedir datadir tmpdir servername servicename global session spid language plugin_dir
  identity version_comment version_compile_os version_compile_machine secure_file_priv rowcount error
  max_allowed_packet port socket server_id uuid log_error dbts trancount
]], words.VARIABLE)

return words
