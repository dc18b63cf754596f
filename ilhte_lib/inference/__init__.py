"""From fits to effects, intervals and tests, generalisation to other items, and who benefits."""
