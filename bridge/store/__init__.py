"""The stores: one package for each engine, with its SQL, held to one contract suite."""
