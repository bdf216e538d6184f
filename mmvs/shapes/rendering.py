"""From a scene to pixels: anti-aliased textured bodies on a textured background, masks and exact flow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from mmvs.shapes.scene import REFERENCE, Body, Looks, Scene

# Far apart in hue, so that texture, light and 4:2:0 chroma do not mix them up.
RGB = {
    "red": (226, 44, 40),
    "green": (40, 176, 58),
    "blue": (44, 84, 238),
    "yellow": (240, 214, 44),
    "purple": (186, 60, 214),
    "cyan": (44, 212, 220),
}
TEXELS = 3  # of a texture per pixel of the reference picture
RIM = (1.0, 0.45)  # reference pixels wide, so much darker: look-alikes that overlap stay apart
VISIBLE = 0.5  # a pixel belongs to the nearest body that covers more than this share of it


@dataclass(frozen=True)
class Rendering:
    """The frames of a clip, and the truth about them."""

    scene: Scene
    frames: np.ndarray  # (T, H, W, 3) uint8 RGB
    masks: np.ndarray  # (n, T, H, W) bool, visible pixels of each body

    @cached_property
    def flow(self) -> np.ndarray:
        """(T - 1, 2, H, W) float32 pixels: exact motion from t to t + 1 of what each pixel of t shows."""
        scene = self.scene
        flow = np.empty((scene.frames - 1, 2, *scene.size), np.float32)
        flow[:] = np.asarray(scene.camera, np.float32)[:, None, None]
        for body, mask in zip(scene.bodies, self.masks, strict=True):
            centres, scales, angles = scene.track(body)
            growth, turn = scales[1:] / scales[:-1], np.diff(angles)
            cos, sin = growth * np.cos(turn), growth * np.sin(turn)
            t, y, x = np.nonzero(mask[:-1])
            dx, dy = x - centres[t, 0], y - centres[t, 1]
            flow[t, 0, y, x] = cos[t] * dx - sin[t] * dy + centres[t + 1, 0] - x
            flow[t, 1, y, x] = sin[t] * dx + cos[t] * dy + centres[t + 1, 1] - y
        return flow


def render(scene: Scene, noise: float, rng: np.random.Generator) -> Rendering:
    """Render a scene; `noise` is the sensor's standard deviation in grey levels of 255."""
    unit = min(scene.size) / REFERENCE
    frames = _background(scene, rng)
    textures = {looks: _texture(looks, rng) for looks in dict.fromkeys(b.looks for b in scene.bodies)}
    covers = []
    for body in scene.bodies:
        u, v, scale = _own_coordinates(scene, body)
        outside = scale * _distance(body.looks.shape, u, v, np.float32(body.radius))
        covers.append(_cover(outside))
        pixels = np.nonzero(covers[-1])
        shade = 0.77 + 0.23 * _sample(textures[body.looks], u[pixels], v[pixels], unit)
        shade *= 1 - RIM[1] * np.clip(outside[pixels] + RIM[0] * unit + 0.5, 0, 1)
        colour = shade[:, None] * np.asarray(RGB[body.looks.colour], np.float32)
        behind = frames[pixels]
        frames[pixels] = behind + covers[-1][pixels][:, None] * (colour - behind)
    masks = _unhidden(covers)
    frames *= _light(*scene.size, rng)[..., None]
    frames += np.float32(noise) * rng.standard_normal(frames.shape, dtype=np.float32)
    np.clip(frames, 0, 255, out=frames)
    return Rendering(scene, np.rint(frames).astype(np.uint8), masks)


def visible(scene: Scene, only: tuple[int, ...] | None = None) -> np.ndarray:
    """(n, T, H, W) bool: the pixels that show each body, in all frames or `only` in these."""
    covers = []
    for body in scene.bodies:
        u, v, scale = _own_coordinates(scene, body, only)
        covers.append(_cover(scale * _distance(body.looks.shape, u, v, np.float32(body.radius))))
    return _unhidden(covers)


def _unhidden(covers: list[np.ndarray]) -> np.ndarray:
    """(n, T, H, W) bool: what each body covers and no nearer one does."""
    masks = np.stack([cover > VISIBLE for cover in covers])
    nearer = np.zeros_like(masks[0])
    for mask in masks[::-1]:
        mask &= ~nearer
        nearer |= mask
    return masks


def _own_coordinates(scene: Scene, body: Body, only=None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each pixel's place u, v (T, H, W) in the body's own frame, in pixels, and its scale (T, 1, 1)."""
    frames = slice(None) if only is None else list(only)
    centres, scales, angles = (track[frames].astype(np.float32) for track in scene.track(body))
    height, width = scene.size
    x = np.arange(width, dtype=np.float32) - centres[:, 0, None, None]
    y = np.arange(height, dtype=np.float32)[:, None] - centres[:, 1, None, None]
    scale = scales[:, None, None]
    cos, sin = np.cos(angles)[:, None, None] / scale, np.sin(angles)[:, None, None] / scale
    return cos * x + sin * y, cos * y - sin * x, scale


def _cover(outside: np.ndarray) -> np.ndarray:
    """Share of each pixel that a body covers, from the signed distance to its outline in pixels."""
    return np.clip(0.5 - outside, 0, 1)


def _distance(shape: str, u: np.ndarray, v: np.ndarray, radius: np.float32) -> np.ndarray:
    """Signed distance to the outline, negative inside; the four shapes have about the same area."""
    if shape == "circle":
        return np.hypot(u, v) - radius
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) - 0.886 * radius
    if shape == "triangle":  # equilateral, pointing up
        return np.maximum(v, 0.866 * np.abs(u) - 0.5 * v) - 0.75 * radius
    if shape == "cross":
        a, b = np.abs(u), np.abs(v)
        long, wide = 1.2 * radius, 0.38 * radius
        return np.minimum(np.maximum(a - long, b - wide), np.maximum(a - wide, b - long))
    raise ValueError(f"unknown shape '{shape}'")


def _texture(looks: Looks, rng: np.random.Generator, half: int = 18) -> np.ndarray:
    """A picture in [-1, 1] of `half` reference pixels either side of a body's centre."""
    axis = np.arange(-half * TEXELS, half * TEXELS, dtype=np.float32) / TEXELS
    speckles = _soft_noise((len(axis), len(axis)), 1.1 * TEXELS, rng)
    if looks.texture == "speckles":
        return np.tanh(1.5 * speckles)
    tilt = rng.uniform(0, np.pi)
    across = 2 * np.pi / rng.uniform(5.0, 6.5) * (np.cos(tilt) * axis + np.sin(tilt) * axis[:, None])
    along = 2 * np.pi / 7.0 * (np.cos(tilt) * axis[:, None] - np.sin(tilt) * axis)
    waves = np.sin(across) if looks.texture == "stripes" else np.sin(across * 0.8) * np.sin(along) * 1.5
    # The speckles give a flow estimator something to hold on to along the stripes.
    return np.clip(0.8 * np.tanh(2 * waves) + 0.25 * speckles, -1, 1).astype(np.float32)


def _sample(texture: np.ndarray, u: np.ndarray, v: np.ndarray, unit: float) -> np.ndarray:
    """(n,) texture at (n,) places in a body's own pixels."""
    # OpenCV takes maps of two axes, neither beyond 32,767: fold the list.
    folded = (-(-len(u) // 1024), 1024)
    x, y = (np.resize(a * np.float32(TEXELS / unit) + len(texture) // 2, folded) for a in (u, v))
    return cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).ravel()[: len(u)]


def _soft_noise(size: tuple[int, int], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of mean 0 and standard deviation 1."""
    noise = cv2.GaussianBlur(rng.standard_normal(size, dtype=np.float32), (0, 0), sigma)
    return (noise - noise.mean()) / noise.std()


def _background(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """(T, H, W, 3) float32: grey noise at two scales with a slight tint, drifting with the camera."""
    (height, width), unit = scene.size, min(scene.size) / REFERENCE
    drift = scene.drift()
    pad = int(np.ceil(np.abs(drift).max())) + 2
    size = (height + 2 * pad, width + 2 * pad)
    fine, coarse = _soft_noise(size, 1.2 * unit, rng), _soft_noise(size, 5 * unit, rng)
    grey = np.float32(rng.uniform(80, 120)) + 13 * fine + 14 * coarse
    tint = 1 + rng.uniform(-0.1, 0.1, 3)
    shifts = [np.float32([[1, 0, x - pad], [0, 1, y - pad]]) for x, y in drift]
    pictures = np.stack([cv2.warpAffine(grey, m, (width, height), flags=cv2.INTER_CUBIC) for m in shifts])
    return pictures[..., None] * tint.astype(np.float32)


def _light(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """(H, W) brightness of this clip, with a gradient across the picture."""
    slope, tilt = rng.uniform(0, 0.2), rng.uniform(0, 2 * np.pi)
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
    return (rng.uniform(0.75, 1.1) * (1 + slope * (np.cos(tilt) * x + np.sin(tilt) * y))).astype(np.float32)
