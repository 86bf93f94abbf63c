"""The sphere of `worlds` written as NAVI, ScanNet's pairs and CO3D lay out their files."""

import gzip
import json

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from equiview.geometry import inverse, transform
from worlds import sphere_ring

NAVI_HW, SCANNET_HW = (120, 160), (480, 640)
NAVI_UNIT = 100.0  # Millimetres of one unit of the world: the sphere is 10 cm wide.


def depth_of(view, scale):
    z = transform(view.camera.cam_from_world, view.points_in_world.astype(np.float64))[..., 2]
    return np.where(view.mask, z * scale, 0)


def save_depth(path, depth):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(depth).astype(np.uint16)).save(path)


def save_rgb(path, view):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(view.rgb).save(path, quality=95)


def write_navi(root, names=("cup",), count=6):
    for name in names:
        folder, rows = root / name / "wild_set", []
        for i, view in enumerate(sphere_ring(count, NAVI_HW, focal_px=150.0)):
            save_rgb(folder / "images" / f"{i:03d}.jpg", view)
            save_depth(folder / "depth" / f"{i:03d}.png", depth_of(view, NAVI_UNIT))
            pose = view.camera.cam_from_world
            q = Rotation.from_matrix(pose[:3, :3]).as_quat()[[3, 0, 1, 2]].tolist()
            camera = {"q": q, "t": (pose[:3, 3] * NAVI_UNIT).tolist(), "focal_length": 150.0}
            rows.append({"filename": f"{i:03d}.jpg", "image_size": list(NAVI_HW), "camera": camera})
        (folder / "annotations.json").write_text(json.dumps(rows))
    return root


def write_scannet(root, count=3):
    """One scene whose pairs are (0, 1) and (1, 2); frames are numbered 0, 15, 30."""
    folder = root / "scene0707_00"
    for i, view in enumerate(sphere_ring(12, SCANNET_HW, focal_px=560.0)[:count]):
        number = 15 * i
        save_rgb(folder / "color" / f"{number}.jpg", view)
        save_depth(folder / "depth" / f"{number}.png", depth_of(view, 1000))
        (folder / "pose").mkdir(exist_ok=True)
        np.savetxt(folder / "pose" / f"{number}.txt", inverse(view.camera.cam_from_world))
        intrinsics = view.camera.intrinsics.copy()
    intrinsics[:2, 2] -= 0.5
    np.savez(root / "intrinsics.npz", scene0707_00=intrinsics)
    np.savez(root / "test.npz", name=np.array([[707, 0, 0, 15], [707, 0, 15, 30]], np.uint16))
    return root


def write_co3d(root, *, kind="ndc_isotropic", count=4):
    """A sequence of CATEGORY apple; frames of another sequence stand in the same file."""
    rows = []
    (root / "apple" / "1_2_3").mkdir(parents=True, exist_ok=True)
    for i, view in enumerate(sphere_ring(count, NAVI_HW, focal_px=150.0)):
        name = f"apple/1_2_3/images/frame{i:06d}.jpg"
        save_rgb(root / name, view)
        depth = name.replace("images", "depths") + ".geometric.png"
        bits = depth_of(view, 0.5).astype(np.float16).view(np.uint16)
        save_depth(root / depth, bits)
        camera, (h, w) = view.camera, NAVI_HW
        half = np.array([w, h]) / 2 if kind == "ndc_norm_image_bounds" else np.full(2, min(h, w) / 2)
        flip = np.diag([-1.0, -1, 1])
        middle = (np.array([w, h]) / 2 - camera.intrinsics[:2, 2]) / half
        viewpoint = {
            "R": (flip @ camera.cam_from_world[:3, :3]).T.tolist(),
            "T": (flip @ camera.cam_from_world[:3, 3]).tolist(),
            "focal_length": (np.diag(camera.intrinsics)[:2] / half).tolist(),
            "principal_point": middle.tolist(),
            "intrinsics_format": kind,
        }
        rows.append(
            {
                "sequence_name": "1_2_3",
                "frame_number": i,
                "image": {"path": name, "size": [h, w]},
                "depth": {"path": depth, "scale_adjustment": 2.0},
                "mask": {"path": name.replace("images", "masks")},
                "viewpoint": viewpoint,
            }
        )
    text = json.dumps([{"sequence_name": "9_9_9"}, *reversed(rows)])
    (root / "apple" / "frame_annotations.jgz").write_bytes(gzip.compress(text.encode()))
    return root / "apple" / "1_2_3"
