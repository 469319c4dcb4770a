"""The user's functions: flatten arguments, trace, unflatten results."""
