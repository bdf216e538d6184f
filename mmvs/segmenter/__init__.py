"""Any video: a trained network, streamed frames, overlays and files."""

from mmvs.segmenter.segmenter import Answer, Segmenter

__all__ = ["Answer", "Segmenter"]
