"""An analysis for a paper: tables, figures, paragraphs and a report in the formats that journals and offices take."""
