"""A made world of points above a plane, photographed through a lens, written in every layout of captures."""

import json
import struct
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from equiview.data.captures.colmap_files import MODELS
from equiview.data.captures.lens import Lens, apply, distort, undistort
from equiview.geometry import inverse, pixel_centers, project
from equiview.types import Camera
from worlds import camera_at

HW = (60, 80)
INTRINSICS = np.array([[90.0, 0, 41.3], [0, 92.0, 28.9], [0, 0, 1]])
PLAIN = Lens(INTRINSICS, HW)
BENT = Lens(INTRINSICS, HW, "perspective", (-0.12, 0.05, 0.002, -0.001))
# What each layout writes of a camera: world_from_cam as OpenGL has it.
GL = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class World:
    """Cameras around points; every picture shows the direction of its rays as colours, so a pixel tells its ray."""

    lens: Lens = PLAIN
    count: int = 5
    cameras: list[Camera] = field(init=False)
    points: np.ndarray = field(init=False)

    def __post_init__(self):
        angles = np.linspace(0, 2.5, self.count)
        eyes = [(1.6 * np.cos(a), 1.6 * np.sin(a), 1.8 + 0.1 * i) for i, a in enumerate(angles)]
        poses = [camera_at(eye).cam_from_world for eye in eyes]
        object.__setattr__(self, "cameras", [Camera(self.lens.intrinsics, pose, self.lens.hw) for pose in poses])
        object.__setattr__(self, "points", np.random.default_rng(3).uniform(-0.3, 0.3, (40, 3)))

    def pixels(self, i):
        """Return where the points are in photograph i, corner origin, with distortion."""
        ideal, _ = project(Camera(np.eye(3), self.cameras[i].cam_from_world, HW), self.points)
        return apply(self.lens.intrinsics, distort(self.lens, ideal))

    def rays(self):
        """Return the ideal ray (z = 1) of every pixel of a photograph."""
        xy = pixel_centers(self.lens.hw).reshape(-1, 2)
        return undistort(self.lens, apply(np.linalg.inv(self.lens.intrinsics), xy))

    def depth(self, i):
        """Return the z-depth of the plane z = 0 at every pixel of photograph i."""
        world_from_cam = inverse(self.cameras[i].cam_from_world)
        rays = np.concatenate([self.rays(), np.ones((HW[0] * HW[1], 1))], 1) @ world_from_cam[:3, :3].T
        return (-world_from_cam[2, 3] / rays[:, 2]).reshape(HW)

    def names(self):
        return [f"{i:03d}.png" for i in range(self.count)]

    def write_pictures(self, folder, names=None):
        folder.mkdir(parents=True, exist_ok=True)
        rgb = np.rint(colour_of(self.rays())).astype(np.uint8).reshape(*HW, 3)
        for name in names or self.names():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rgb).save(folder / name)


def colour_of(rays):
    x, y = rays.T
    return np.stack([127 + 200 * x, 127 + 250 * y, 127 + 100 * (x - y)], 1).clip(0, 255)


def write_mask(path):
    """The left half is the object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(HW, np.uint8)
    mask[:, : HW[1] // 2] = 255
    Image.fromarray(mask).save(path)


def colmap_params(lens, model):
    _, focals, count, _ = MODELS[model]
    k = lens.intrinsics
    return [*(k[0, 0], k[1, 1])[:focals], k[0, 2], k[1, 2], *lens.coefficients[:count]]


def write_colmap(folder, world, *, form="txt", model="OPENCV", place="sparse/0", names=None):
    """Write a model whose images have odd numbers, one point nobody sees and observations without a point."""
    names = names or world.names()
    world.write_pictures(folder / "images", names)
    where = folder / place
    where.mkdir(parents=True, exist_ok=True)
    params = colmap_params(world.lens, model)
    poses = []
    for camera in world.cameras:
        q = Rotation.from_matrix(camera.cam_from_world[:3, :3]).as_quat()[[3, 0, 1, 2]]
        poses.append([*q, *camera.cam_from_world[:3, 3]])
    seen = [[(*xy, 10 + 3 * j) for j, xy in enumerate(world.pixels(i))] for i in range(world.count)]
    seen = [[(1.5, 2.5, -1), *rows] for rows in seen]
    numbers = [10 + 3 * j for j in range(len(world.points))]
    (_colmap_txt if form == "txt" else _colmap_bin)(where, names, model, params, poses, seen, numbers, world)
    return folder


def _colmap_txt(where, names, model, params, poses, seen, numbers, world):
    words = " ".join(map(repr, map(float, params)))
    (where / "cameras.txt").write_text(f"# Camera list\n7 {model} {HW[1]} {HW[0]} {words}\n")
    lines = ["# Image list"]
    for i in reversed(range(len(names))):  # COLMAP's order is not that of the names.
        lines.append(f"{2 * i + 1} {' '.join(map(repr, map(float, poses[i])))} 7 {names[i]}")
        lines.append(" ".join(f"{float(x)!r} {float(y)!r} {p}" for x, y, p in seen[i]))
    (where / "images.txt").write_text("\n".join(lines) + "\n")
    rows = []
    for j, (number, xyz) in enumerate(zip(numbers, world.points, strict=True)):
        track = " ".join(f"{2 * i + 1} {j + 1}" for i in range(len(names)))
        rows.append(f"{number} {' '.join(map(repr, map(float, xyz)))} 1 2 3 0.5 {track}")
    (where / "points3D.txt").write_text("# 3D point list\n" + "\n".join(rows) + "\n")


def _colmap_bin(where, names, model, params, poses, seen, numbers, world):
    cameras = struct.pack("<QiiQQ", 1, 7, MODELS[model][0], HW[1], HW[0]) + struct.pack(f"<{len(params)}d", *params)
    (where / "cameras.bin").write_bytes(cameras)
    images = [struct.pack("<Q", len(names))]
    for i in reversed(range(len(names))):
        images.append(struct.pack("<I7dI", 2 * i + 1, *poses[i], 7) + names[i].encode() + b"\0")
        images.append(struct.pack("<Q", len(seen[i])) + b"".join(struct.pack("<ddq", *row) for row in seen[i]))
    (where / "images.bin").write_bytes(b"".join(images))
    points = [struct.pack("<Q", len(numbers))]
    for j, (number, xyz) in enumerate(zip(numbers, world.points, strict=True)):
        points.append(struct.pack("<Q3d3Bd", number, *xyz, 1, 2, 3, 0.5) + struct.pack("<Q", len(names)))
        points += [struct.pack("<ii", 2 * i + 1, j + 1) for i in range(len(names))]
    (where / "points3D.bin").write_bytes(b"".join(points))


def write_transforms(folder, world, *, extra=(), listed=()):
    """Write a scene of nerfstudio; `listed` frames have no picture."""
    world.write_pictures(folder / "images")
    k, c = world.lens.intrinsics, world.lens.coefficients
    scene = {"fl_x": k[0, 0], "fl_y": k[1, 1], "cx": k[0, 2], "cy": k[1, 2], "w": HW[1], "h": HW[0]}
    names = ("k1", "k2", "k3", "k4") if world.lens.kind == "fisheye" else ("k1", "k2", "p1", "p2")
    scene |= dict(zip(names, c, strict=False)) | dict(extra)
    frames = []
    for name, camera in zip(world.names(), world.cameras, strict=True):
        matrix = (inverse(camera.cam_from_world) @ GL).tolist()
        frames.append({"file_path": f"./images/{name}", "transform_matrix": matrix})
    frames += [{"file_path": f"images/{name}", "transform_matrix": np.eye(4).tolist()} for name in listed]
    write_json(folder / "transforms.json", scene | {"frames": frames})
    return folder


def write_json(path, value):
    path.write_text(json.dumps(value))


def read_json(path):
    return json.loads(path.read_text())


def centre_origin(intrinsics):
    """Return intrinsics as tools write them that call the first pixel's centre (0, 0)."""
    moved = np.array(intrinsics, float)
    moved[:2, 2] -= 0.5
    return moved


def write_depth(path, world, i, steps):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(world.depth(i) * steps).astype(np.uint16)).save(path)


def write_rgbd(folder, world, *, colour="color", steps=1000):
    world.write_pictures(folder / colour)
    (folder / "pose").mkdir()
    for i, (name, camera) in enumerate(zip(world.names(), world.cameras, strict=True)):
        np.savetxt(folder / "pose" / name.replace(".png", ".txt"), inverse(camera.cam_from_world))
        write_depth(folder / "depth" / name, world, i, steps)
    np.savetxt(folder / "intrinsics.txt", centre_origin(world.lens.intrinsics))
    if not world.lens.is_pinhole:
        np.savetxt(folder / "distortion.txt", [world.lens.coefficients[:4]])
    return folder


def write_tum(folder, world):
    """Times of pictures, depth and poses differ by some milliseconds."""
    names = [f"{1305031102.1753 + 0.1 * i:.6f}.png" for i in range(world.count)]
    world.write_pictures(folder / "rgb", names)
    rows = ["# timestamp tx ty tz qx qy qz qw"]
    for i, (name, camera) in enumerate(zip(names, world.cameras, strict=True)):
        pose, time = inverse(camera.cam_from_world), float(name.removesuffix(".png"))
        q = Rotation.from_matrix(pose[:3, :3]).as_quat()
        rows.append(" ".join(f"{v:.12f}" for v in (time + 0.004, *pose[:3, 3], *q)))
        write_depth(folder / "depth" / f"{time - 0.011:.6f}.png", world, i, 5000)
    (folder / "groundtruth.txt").write_text("\n".join(rows) + "\n")
    np.savetxt(folder / "intrinsics.txt", centre_origin(world.lens.intrinsics))
    return folder


def write_bop(folder, world, *, objects=(5,), steps=1000):
    """Write a scene; millimetres of the data set are units of the world."""
    world.write_pictures(folder / "rgb", [f"{i:06d}.png" for i in range(world.count)])
    cameras, poses = {}, {}
    for i, camera in enumerate(world.cameras):
        k = centre_origin(world.lens.intrinsics)
        cameras[str(i)] = {"cam_K": k.ravel().tolist(), "depth_scale": 1 / steps}
        one = {"cam_R_m2c": camera.cam_from_world[:3, :3].ravel().tolist()}
        one["cam_t_m2c"] = camera.cam_from_world[:3, 3].tolist()
        poses[str(i)] = [one | {"obj_id": number} for number in objects]
        write_depth(folder / "depth" / f"{i:06d}.png", world, i, steps)
        for number in range(len(objects)):
            write_mask(folder / "mask_visib" / f"{i:06d}_{number:06d}.png")
    write_json(folder / "scene_camera.json", cameras)
    write_json(folder / "scene_gt.json", poses)
    return folder


def write_middlebury(folder, world):
    world.write_pictures(folder)
    lines = [str(world.count)]
    for name, camera in zip(world.names(), world.cameras, strict=True):
        k, pose = centre_origin(world.lens.intrinsics), camera.cam_from_world
        values = [*k.ravel(), *pose[:3, :3].ravel(), *pose[:3, 3]]
        lines.append(f"{name} {' '.join(map(repr, map(float, values)))}")
    (folder / "made_par.txt").write_text("\n".join(lines) + "\n")
    (folder / "README.txt").write_text("The bounding box is\n(-0.3 -0.3 -0.3)\n(0.3 0.3 0.3)\n")
    return folder
