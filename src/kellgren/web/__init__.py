"""The reading room: an HTTP interface and a page on one machine, graders in processes of their own.

`app` assembles routes, store and graders, `store` keeps cases in a database, `pool` feeds the
`grader` processes.
"""
