"""What the pages say and show: a table's, the vignette's, the lists."""
