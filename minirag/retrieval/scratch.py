"""Room that is used again.

What is freed and asked for again may come from the system page by page, each time it is asked for: in a search of many short
steps that takes as long as the steps themselves.
"""

import math
import threading

import torch
from torch import Tensor

_ROOMS = threading.local()


@torch.inference_mode(False)  # a room outlives the mode it was made in
def scratch(name: str, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor of this shape in the room of this name; its content is whatever was left there.

    Each thread has rooms of its own, which grow to the largest shape that was asked for. Who asks again under the same name
    writes over what was there.

    >>> scratch("here", 2, 3).shape, scratch("here", 6).data_ptr() == scratch("here", 2, 3).data_ptr()
    (torch.Size([2, 3]), True)
    """
    numbers = math.prod(shape)
    room = getattr(_ROOMS, name, None)
    if room is None or len(room) < numbers or room.dtype != dtype:
        room = torch.empty(numbers, dtype=dtype)
        setattr(_ROOMS, name, room)
    return room[:numbers].view(shape)
