"""The content of the pages: a table's page, the vignette, the lists of tables."""
