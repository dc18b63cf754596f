"""The preview renderer: renders the project's pages with nbclient and pandoc, for machines without Quarto.

A page is read by `qmd` or `notebook`; `execute` runs its cells, `outputs` turns cells into nodes of pandoc's
document tree, `callouts` and `crossref` complete the tree, `page` writes the HTML, and `links` makes its links relative.
`site` does this for all pages and puts the finished folder in place.
"""
