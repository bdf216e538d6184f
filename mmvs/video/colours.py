"""The colours that stand for sentences, in overlays and in charts alike."""

# The colour-blind can tell them apart too (after Okabe & Ito 2008). More sentences than colours begin anew.
SENTENCES = [(230, 85, 13), (0, 158, 255), (240, 228, 66), (0, 190, 130), (204, 121, 220), (86, 60, 200)]


def of_sentences(count: int) -> list[tuple[int, int, int]]:
    """RGB, 0 to 255, of so many sentences, in their order."""
    return [SENTENCES[n % len(SENTENCES)] for n in range(count)]
