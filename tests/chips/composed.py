"""What PyTorch's compositions call: an oracle for the launches of operators without a kernel of their own."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

KEYS = [
    torch._C.DispatchKey.CompositeExplicitAutograd,
    torch._C.DispatchKey.CompositeExplicitAutogradNonFunctional,
    torch._C.DispatchKey.CompositeImplicitAutograd,
]


class Calls(TorchDispatchMode):
    """Notes the operators that reach a device: those named are run as PyTorch composes them of others."""

    def __init__(self, composed):
        super().__init__()
        self.composed, self.found = composed, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func).removeprefix("aten.")
        keys = [key for key in KEYS if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key)]
        if name in self.composed and keys:
            with self:
                return func._op_dk(keys[0], *args, **(kwargs or {}))
        shares = any(each.alias_info and not each.alias_info.is_write for each in func._schema.returns)
        if not shares and "empty" not in name and name != "_unsafe_view.default":
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def composed_calls(call, composed):
    """The operators that a call comes down to, views and allocations left out."""
    with torch.no_grad(), Calls(composed) as calls:
        call()
    return calls.found
