"""The checker that conftest.py puts around every function: beartype, for which an int is a float."""

from beartype import BeartypeConf, beartype

checker = beartype(conf=BeartypeConf(is_pep484_tower=True))
