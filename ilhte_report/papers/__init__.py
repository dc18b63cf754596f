"""An analysis for a paper: tables, figures, paragraphs and a report in formats for journals and word processors."""
