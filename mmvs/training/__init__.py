"""Training: `fit(experiment)`, what it optimises, and what it writes."""

from mmvs.training.fitting import fit

__all__ = ["fit"]
