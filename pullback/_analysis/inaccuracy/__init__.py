"""Where a program loses digits: every operation runs a second time, on values of higher precision."""
