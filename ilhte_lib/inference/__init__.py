"""From fits to effects, intervals, tests and what they say of other items and of who benefits."""
