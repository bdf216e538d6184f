"""One thread for every test: two threads on a busy machine can be ten times slower than one."""

import torch

torch.set_num_threads(1)
