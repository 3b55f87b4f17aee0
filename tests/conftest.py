"""Shapes and types are checked at run time in every test: jaxtyping's annotations, enforced by beartype."""

from jaxtyping import install_import_hook

install_import_hook("ebbtide", "typecheck.checker")
