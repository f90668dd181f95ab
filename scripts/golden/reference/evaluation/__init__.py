"""Golden values of the evaluation attacks, made by the AutoAttack authors' own code: one file for each attack."""
