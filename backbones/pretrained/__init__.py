"""The layouts of public checkpoints: state dicts of theirs to ours and back, and what a file's shapes tell.

::

    layout = LAYOUTS["dit"]
    found = layout.read(theirs)                                     # options and sizes, read off the shapes
    network = DiT(found.sizes(), **found.options)                   # on the meta device is enough
    network.load_state_dict(to_ours(layout, network, theirs))
    to_theirs(layout, network, network.state_dict())                # bit for bit what was read

A layout is a table of rows (name here, names there, form), one file per layout.
"""

from backbones.pretrained.base import Found, Layout, LayoutError, Sizes
from backbones.pretrained.conversion import State, to_ours, to_theirs
from backbones.pretrained.diffusers_dit import DiffusersDiT
from backbones.pretrained.diffusers_sd3 import DiffusersSD3
from backbones.pretrained.dit import PublicDiT
from backbones.pretrained.sd3 import SD3
from backbones.pretrained.sit import SiT
from backbones.pretrained.uvit import PublicUViT

LAYOUTS: dict[str, Layout] = {
    layout.name: layout for layout in (PublicDiT(), SiT(), PublicUViT(), SD3(), DiffusersDiT(), DiffusersSD3())
}
"""The layouts by the names that ``fewstep import --as`` takes."""

__all__ = ["LAYOUTS", "Found", "Layout", "LayoutError", "Sizes", "State", "to_ours", "to_theirs"]
