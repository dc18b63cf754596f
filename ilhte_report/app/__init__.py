"""``ilhte app``: checking and fitting a table in a browser, with a server that only this machine can reach."""
