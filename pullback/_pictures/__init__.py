"""Pictures of programs, and profiles of them: what `debug.draw` and `debug.profile` show."""
