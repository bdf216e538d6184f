"""Data of one's own: a tree in Ref-YouTube-VOS's layout from videos, sentences and masks."""
