"""The preview renderer: the project's pages made with nbclient and pandoc, for machines without Quarto.

The way of a page: `qmd` or `notebook` reads it, `execute` runs its cells, `outputs` turns cells into nodes of pandoc's
document tree, `callouts` and `crossref` finish the tree, `page` writes the HTML, `links` makes its links relative;
`site` does that for all pages and puts the finished folder in place.
"""
