"""Which words of a sentence are verbs, and which of them speak of motion; by rule and list, without a parser.

The sentences of A2D and J-HMDB say what somebody is doing now ("the dog is running on the grass"), so that
their verbs are present participles. A rule finds those, and a list excludes the few other words in -ing. The
rule does not find passive and past forms ("is being thrown").
"""

from __future__ import annotations

import re

WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words in -ing that are no verbs in these sentences, or only an auxiliary.
NO_VERBS = _set("""
    according anything being building ceiling clothing during duckling evening everything gosling king living
    morning nothing parking ping railing ring something spring string swing thing wedding wing
""")

# Whoever or whatever does this changes place, direction or posture while one looks.
MOTION_VERBS = _set("""
    approaching ascending backing bending biking bouncing bounding catching chasing clapping climbing
    crashing crawling creeping crossing dancing descending diving dribbling drifting driving dropping
    entering escaping falling flapping flipping floating flying following gliding going heading hiking
    hitting hopping jogging jumping kicking landing leading leaping leaving lifting limping marching
    moving overtaking parading passing pouring powerwalking pulling pushing racing raising reaching
    riding rising rocking rolling rotating running shaking shifting sinking skating skiing skipping
    sliding slipping somersaulting speeding spinning sprinting squirming strolling swaying swimming
    swinging swirling throwing traveling travelling trotting tumbling turning waddling wagging walking
    wandering waving
""")

# Left and right are not among them: here they nearly always say where somebody is ("on the left").
DIRECTIONS = _set("""
    across along around away backward backwards down downward downwards forth forward forwards into onto past
    through toward towards up upward upwards
""")
PLACES = _set("left right middle top bottom front back behind near next")

# Lists of frequent words leave these out.
FUNCTION_WORDS = _set("""
    a an and are at being by for from has her his in is it its of on one some that the their there this to two
    which while who with
""")


def words(sentence: str) -> list[str]:
    """The words of a normalised sentence, without punctuation and numbers."""
    return WORD.findall(sentence.lower())


def verbs(sentence: str) -> list[str]:
    """Its present participles, in order."""
    return [
        word for word in words(sentence) if word.endswith("ing") and len(word) > 4 and word not in NO_VERBS
    ]
