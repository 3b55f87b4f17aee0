"""How many bits an example costs: the bound term by term, the exact likelihood by the ODE, information curves."""
