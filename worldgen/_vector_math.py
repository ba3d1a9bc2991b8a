"""Makes the first root, exponential or sine of a process as exact as every later one.

On Intel and AMD processors torch reads such functions from MKL, which chooses its kernels at the first call of any of
them. When two threads make that first call at the same moment, one of them may compute with the kernels of lowest
accuracy (3e-4, torch asks for 1e-7): about one fresh process in fifty, so that a step's result was not always the same
to the byte. One number is below what torch shares among threads, so that here the choice is made by one thread alone.
"""

import torch

torch.ones(1).sqrt()
