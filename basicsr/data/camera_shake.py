"""Simulate camera shake in six degrees of freedom: paths of poses, their homographies, and the resulting blur.

A hand-held camera turns (yaw, pitch, roll) and moves (right, down, ahead) while the shutter is open. For a scene at one
depth, each pose is a homography of the image (Hartley and Zisserman, "Multiple View Geometry", section 13.1), so the
blur differs from corner to corner (Whyte et al., "Non-uniform deblurring for shaken images", IJCV 2012).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr.data.exposure import Image, Planes, gray_of, light_of, to_uint8
from basicsr.data.motion import at_times, random_walk
from basicsr.utils.errors import ArgumentError

Floats = NDArray[np.float64]

_LONGEST_STEP, _MOST_SAMPLES = 1.0, 81


def smooth_path(components: int, rng: np.random.Generator, smoothness: float = 0.3) -> Floats:
    """Draw a random path through ``components`` dimensions whose velocity changes smoothly.

    The middle of the path in time is 0, and so is its mean: a parabola is added that is 0 in the middle. An image
    blurred along the path is therefore not shifted against the image at its middle.

    Args:
        components: D.
        rng: random generator.
        smoothness: fraction of the exposure over which the velocity is similar, above 0: at 0.1 the path winds, at 1
            it is an arc.

    Returns:
        (65, D), equally spaced in time.
    """
    if smoothness <= 0:
        raise ArgumentError(f'smoothness must be above 0, got {smoothness}')
    path = random_walk(components, rng, smoothness, reach=1.0)
    path -= path[len(path) // 2]
    parabola = np.linspace(-1, 1, len(path))[:, None] ** 2
    return np.asarray(path - parabola * (path.mean(0) / parabola.mean()))


class CameraShake:
    """One shake of a camera in front of one image, as homographies.

    Args:
        size: height and width of the image in pixels.
        length: mean length of the paths of its pixels, in pixels.
        rng: random generator, also of the smoothness (0.1 to 1, see :func:`smooth_path`) and of the focal length (0.6
            to 3 times the longer side, wide to tele).
        translation_only: move all pixels equally: one blur kernel for the whole image.

    Raises:
        ArgumentError: a negative length.
    """

    def __init__(
        self, size: tuple[int, int], length: float, rng: np.random.Generator, translation_only: bool = False
    ) -> None:
        if length < 0:
            raise ArgumentError(f'length must be at least 0 pixels, got {length}')
        smoothness, focal = float(rng.uniform(0.1, 1.0)), float(np.exp(rng.uniform(*np.log([0.6, 3.0]))))
        self.size, self.length, self.translation_only = size, length, translation_only
        self.focal = max(size) * focal
        poses = smooth_path(6, rng, smoothness)
        # How far each of the six moves pixels, as a part of the whole: yaw and pitch most, roll and depth less.
        weights = rng.gamma(1.0, [1.0, 1.0, 0.5, 0.5, 0.5, 0.3])
        reach = np.linalg.norm(size) / 4  # mean distance of a pixel from the centre
        spread = np.abs(poses).mean(0) + 1e-12
        in_pixels = np.array([self.focal, self.focal, reach, self.focal, self.focal, reach])
        self._poses = poses * weights / (spread * in_pixels)
        if translation_only:
            self._poses[:, [0, 1, 2, 5]] = 0
        grid = np.stack(np.meshgrid(*(np.linspace(0, side - 1, 5) for side in size), indexing='ij'), -1).reshape(-1, 2)
        for _ in range(3):  # nearly linear in the size of the poses: a few steps meet the length
            own = self.path_length(grid).mean()
            self._poses *= length / own if own > 0 else 0.0

    def homographies(self, samples: int) -> Floats:
        """Return the maps (samples, 3, 3) to the image at the middle of the exposure, equally spaced in time.

        Each maps a pixel (x right, y down, 1) of that moment's frame to the place in the sharp image that it shows.
        """
        times = (np.arange(samples) + 0.5) / samples if samples > 1 else np.array([0.5])
        return self._matrices(at_times(self._poses, times))

    def path_length(self, places: Floats) -> Floats:
        """Return the length of the path of pixels during the exposure.

        Args:
            places: (N, 2), rows and columns.

        Returns:
            (N,), in pixels.
        """
        matrices = self._matrices(self._poses)
        points = np.concatenate([places[:, ::-1], np.ones((len(places), 1))], axis=1)
        seen = np.einsum('tij,nj->tni', matrices, points)
        seen = seen[..., :2] / seen[..., 2:]
        return np.asarray(np.linalg.norm(np.diff(seen, axis=0), axis=2).sum(0))

    def samples_for(self, places: Floats) -> int:
        """Return the number of frames that blur these places without gaps: odd, with steps of about a pixel."""
        longest = float(self.path_length(places).max())
        return min(_MOST_SAMPLES, 2 * int(np.ceil(longest / (2 * _LONGEST_STEP))) + 1)

    def _matrices(self, poses: Floats) -> Floats:
        height, width = self.size
        camera = np.array([[self.focal, 0, (width - 1) / 2], [0, self.focal, (height - 1) / 2], [0, 0, 1]])
        yaw, pitch, roll, right, down, ahead = poses.T
        plane = np.zeros((len(poses), 3, 3))
        plane[:, 0, 2], plane[:, 1, 2], plane[:, 2, 2] = right, down, ahead  # over the depth of the scene
        return np.asarray(camera @ (_rotations(pitch, yaw, roll) + plane) @ np.linalg.inv(camera))


def expose(light: Planes, shake: CameraShake, window: tuple[int, int, int, int]) -> Planes:
    """Integrate the light of a window of the image while the camera shakes.

    Args:
        light: (H, W, 3) of the sharp image; beyond its edges it is mirrored.
        shake: of an image of that size.
        window: top, left, height, width.

    Returns:
        (height, width, 3), the mean over the exposure.
    """
    top, left, height, width = window
    corners = np.array([(top, left), (top, left + width), (top + height, left), (top + height, left + width)], float)
    place = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]], float)
    matrices = shake.homographies(shake.samples_for(corners)) @ place
    total = np.zeros((height, width, light.shape[2]), np.float32)
    for matrix in matrices:
        total += cv2.warpPerspective(
            light, matrix, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
        )
    return np.maximum(total / len(matrices), 0)


def shaken_photo(image: Image, shake: CameraShake, gamma: float = 1.0) -> Image:
    """Return a whole photo as a shaken camera takes it.

    Args:
        image: (H, W, 3) uint8, sharp.
        shake: of an image of that size.
        gamma: gray value = light^(1/gamma); 1 averages gray values.

    Returns:
        (H, W, 3) uint8.
    """
    light = expose(light_of(image, gamma), shake, (0, 0, *shake.size))
    return to_uint8(gray_of(light, gamma))


def _rotations(pitch: Floats, yaw: Floats, roll: Floats) -> Floats:
    """Return rotation matrices (T, 3, 3) about the axes right, down and ahead, in radians."""
    result = np.tile(np.eye(3), (len(yaw), 1, 1))
    for angles, (first, second) in ((yaw, (2, 0)), (pitch, (1, 2)), (roll, (0, 1))):
        turn = np.tile(np.eye(3), (len(angles), 1, 1))
        turn[:, first, first] = turn[:, second, second] = np.cos(angles)
        turn[:, first, second], turn[:, second, first] = -np.sin(angles), np.sin(angles)
        result = result @ turn
    return result
