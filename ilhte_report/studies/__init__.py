"""Long computations and what their pages show: engines compared, simulations, identification."""
