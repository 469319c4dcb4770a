"""How often `debug.find_inaccuracy` names the operation to blame, on the expressions of FPBench."""
