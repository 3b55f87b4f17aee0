"""Shapes and types are checked at run time in every test: jaxtyping's annotations, enforced by beartype."""

import torch
from jaxtyping import install_import_hook

install_import_hook("ebbtide", "typecheck.checker")
torch.set_num_threads(1)  # networks in tests are so small that threads cost more than they bring
