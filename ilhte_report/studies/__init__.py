"""Long computations and the content of their pages: comparison of engines, simulations, identification."""
