"""QA of recordings: byte ranges in, measurements and verdicts out. Knows no file, loop or clock."""
