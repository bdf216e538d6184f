"""The network of the authors' public code, with its own objective."""
