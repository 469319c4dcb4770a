"""The public functions: flatten arguments, trace, unflatten results."""
