"""From sufficient statistics to a certified fit: the deviance, its modes, gradient and optimum; lme4 as the second engine."""
