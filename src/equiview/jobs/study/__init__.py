"""How equivariance and the tasks relate: many results to correlations, intervals and plain words."""
