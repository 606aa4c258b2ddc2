"""Measures the product beside a yardstick: `python -m bench`."""
