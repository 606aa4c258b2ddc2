"""What the visitor's browser runs, as package data. The gateway serves these files; no Python uses them."""
