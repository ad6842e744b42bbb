"""The models of the server: found, loaded, checked, served, replaced. `model_table` is the entrance."""
