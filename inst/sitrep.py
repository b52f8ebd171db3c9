"""Print what this Python holds of what celloquy needs, one ``name<TAB>value`` a line.

Run by ``CelloquySitrep()`` in a process of its own: a torch that crashes on loading must not take R with it.
"""

import platform
from importlib.metadata import PackageNotFoundError, version

print("python", platform.python_version(), sep="\t")
for name in ("celloquy", "torch", "numpy", "scanpy", "anndata"):
    try:
        print(name, version(name), sep="\t")
    except PackageNotFoundError:
        print(name, "", sep="\t")
try:
    import torch
except Exception as error:  # whatever torch's libraries raise is the finding
    print("device", "", sep="\t")
    print("failure", repr(error).replace("\n", " "), sep="\t")
else:
    if torch.cuda.is_available():
        print("device", f"cuda ({torch.cuda.get_device_name()})", sep="\t")
    elif torch.backends.mps.is_available():
        print("device", "mps", sep="\t")
    else:
        print("device", f"cpu ({torch.get_num_threads()} threads)", sep="\t")
