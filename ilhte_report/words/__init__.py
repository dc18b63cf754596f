"""Numbers, sentences and rows that describe results, and the escaping of untrusted text for each medium."""
