"""The site: what a run gives to it, figures and downloads in its pages, real Quarto or the preview renderer."""
