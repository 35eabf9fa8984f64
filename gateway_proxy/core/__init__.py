"""The rules, pure: no sockets, clocks, files or logging. Time comes in as `now` (monotonic seconds), effects go out."""
