"""Order in time can be learned: of two things with the same motions, the one whose order was asked for."""

import tiny
import torch

from mmvs.config import Loss
from mmvs.losses import Objective
from mmvs.schema import Batch

SIZE, T = 32, 3
DIRECTIONS = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
CLS, SEP, THEN, FIRST_DIRECTION = 2, 3, 4, 5  # token ids


def windows(count: int, generator: torch.Generator) -> Batch:
    """A window a clip: two squares on a black ground, one goes A, then B, the other B, then A; asked: A, B.

    In the middle frame, the target, both have stopped: nothing there tells one from the other.
    """
    flow = torch.zeros(count, T, 2, SIZE, SIZE)
    masks = torch.zeros(count, SIZE, SIZE)
    words = torch.empty(count, 5, dtype=torch.long)
    for clip in range(count):
        a, b = torch.randperm(len(DIRECTIONS), generator=generator)[:2].tolist()
        upper = bool(torch.randint(2, (), generator=generator))
        for rows, order in ((slice(4, 12), (a, b)), (slice(20, 28), (b, a))):
            place = slice(SIZE - rows.stop, SIZE - rows.start) if upper else rows
            for t, direction in zip((0, 2), order, strict=True):
                flow[clip, t, :, place, 12:20] = DIRECTIONS[direction][:, None, None]
            if order == (a, b):
                masks[clip, place, 12:20] = 1
        words[clip] = torch.tensor([CLS, FIRST_DIRECTION + a, THEN, FIRST_DIRECTION + b, SEP])
    return Batch(
        frames=torch.zeros(count, T, 3, SIZE, SIZE, dtype=torch.uint8),
        flow=flow,
        masks=masks,
        valid=torch.ones(count, SIZE, SIZE, dtype=torch.bool),
        words=words,
        words_mask=torch.ones_like(words, dtype=torch.bool),
        clip_of_sentence=torch.arange(count),
        target=T // 2,
        samples=list(range(count)),
        original_sizes=[(SIZE, SIZE)] * count,
    )


def share_right(network, batch: Batch) -> float:
    """Of clips in which the square that was meant gets more of the mask than the other."""
    with torch.no_grad():
        probability = network.eval()(batch).probability()
    upper, lower = probability[:, 4:12].mean((1, 2)), probability[:, 20:28].mean((1, 2))
    return ((upper > lower) == (batch.masks[:, 4:12].sum((1, 2)) > 0)).float().mean().item()


def test_which_motion_came_first_is_learned_in_seconds_and_backwards_it_is_the_other():
    network = tiny.network(appearance="none", width=32).train()
    objective = Objective(Loss(aligned="temporal"), alignment=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    for step in range(250):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 40, (250 - step) / 60)
        batch = windows(16, generator)
        loss = objective(network(batch), batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    test = windows(200, torch.Generator().manual_seed(1))
    right = share_right(network, test)
    test.flow = test.flow.flip(1)
    backwards = share_right(network, test)
    assert right > 0.9 and backwards < 0.1, (right, backwards)
