"""What is fitted: model formulas, sufficient statistics of a trial, and trials simulated from known parameters."""
