"""What is fitted: the models' formulas, the sufficient statistics of a trial, trials drawn from known values."""
