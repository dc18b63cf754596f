"""From a file or data frame to a prepared trial, with every dropped row, person and item counted."""
