"""From sufficient statistics to a certified fit: deviance, modes, gradient and optimum; lme4 as a second engine."""
