"""The site: pages, figures and downloads from a run, rendered by Quarto or by the preview renderer."""
