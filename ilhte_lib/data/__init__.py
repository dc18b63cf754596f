"""From a file or a data frame to a prepared trial, every dropped row, person and item counted."""
