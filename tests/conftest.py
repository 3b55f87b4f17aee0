"""Shapes and types are checked at run time in every test: jaxtyping's annotations, enforced by beartype.

What ebbtide keeps for later runs goes to a folder of the tests' own, also from the programs that they start.
"""

import atexit
import os
import shutil
import tempfile

import torch
from jaxtyping import install_import_hook

install_import_hook("ebbtide", "typecheck.checker")
torch.set_num_threads(1)  # networks in tests are so small that threads cost more than they bring

os.environ["EBBTIDE_CACHE"] = tempfile.mkdtemp(prefix="ebbtide-cache-")
atexit.register(shutil.rmtree, os.environ["EBBTIDE_CACHE"], ignore_errors=True)
