"""The reading room: an HTTP interface and a page on one machine, graders in processes of their own.

`app` answers HTTP, `store` keeps what was accepted, `pool` feeds the `grader` processes.
"""
