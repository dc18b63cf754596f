"""``ilhte app``: a table looked at and fitted in a browser, by a server that this machine alone can reach."""
