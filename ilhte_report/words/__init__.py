"""Numbers, sentences and rows: what is said of a result, and how text from strangers is made safe for each medium."""
