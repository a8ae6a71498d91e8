-- What runs at this moment on this thread: the request and the answer that the functions of scripts work on.
--
-- `now.at` is {request, host, ctx, status, headers = {{name, values}, …}, body = {…}, changes = {…}, logs = {…}}.
-- `request`: method, path, query, headers = {{name, value}, …}, body, is_cut, address, port, server_address,
-- server_port, scheme, version, id, country, time. `host`: dict(name, operation, …), which may leave the script for a while.
return {}
