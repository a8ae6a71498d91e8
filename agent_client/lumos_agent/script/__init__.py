"""The customer's own Lua: read here, rewritten so that it can be bounded, run by ``render/lua/script``."""

from lumos_agent.script.compiler import SCRIPT_BYTES_MAX, Compiled, compiled
from lumos_agent.script.lexer import ScriptError

__all__ = ["SCRIPT_BYTES_MAX", "Compiled", "ScriptError", "compiled"]
