"""Views per second: the ray caster, its plain twin, and OpenGL where there is one.

    python benchmarks/render.py --mesh OBJECT.glb --out render.json

The plain twin is what one writes first with trimesh: rays through every sample of the whole frame, float64, its own
intersection locations, no bounding box, no skipping of empty pixels. All draw 512x512 with 2x2 colour samples.
`cpu_s_per_view` is processor time, which other work on the machine does not inflate.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import trimesh
from trimesh.ray.ray_pyembree import RayMeshIntersector

from equiview.data.meshes import open_mesh
from equiview.errors import EquiviewError
from equiview.geometry import pixel_centers, rays_through
from equiview.render import Mesh, RenderConfig, gl, paper42, render_view, render_views
from equiview.render.scene import scene_of
from equiview.render.shading import shade
from equiview.types import Camera

CONFIG = RenderConfig()


def plain_view(mesh: Mesh, intersector: RayMeshIntersector, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Return picture and points."""
    scene, eye, (h, w) = scene_of(mesh), camera.center_in_world, camera.hw
    points = np.full((h * w, 3), np.nan)
    rgb = np.zeros((h * w, 3))
    for shift in [(0.0, 0.0), (-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25)]:
        rays = (rays_through(camera, pixel_centers(camera.hw) + shift) @ camera.cam_from_world[:3, :3]).reshape(-1, 3)
        origins = np.broadcast_to(eye, rays.shape)
        where, ray, triangle = intersector.intersects_location(origins, rays, multiple_hits=False)
        if shift == (0.0, 0.0):
            points[ray] = where
            continue
        weights = scene.barycentric(where, triangle)
        normals = scene.shading_normals(rays[ray], triangle, weights)
        rgb[ray] += scene.base_color(triangle, weights)[:, :3] * shade(CONFIG, camera, where, normals)[:, None] / 4
    return rgb.reshape(h, w, 3), points.reshape(h, w, 3)


def seconds(draw: Callable[[Camera], object], cameras: list[Camera], repeats: int) -> dict[str, float]:
    """Median over repeats of wall and processor seconds per view, after one view to warm up."""
    draw(cameras[0])
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        for camera in cameras:
            draw(camera)
        walls.append((time.perf_counter() - wall) / len(cameras))
        cpus.append((time.process_time() - cpu) / len(cameras))
    wall = float(np.median(walls))
    return {"s_per_view": wall, "views_per_s": 1 / wall, "cpu_s_per_view": float(np.median(cpus))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mesh", default="procedural:1", help="mesh file or procedural:SEED")
    parser.add_argument("--views", type=int, default=42)
    parser.add_argument("--plain-views", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    mesh = open_mesh(arguments.mesh)
    cameras = paper42(CONFIG.hw)[: arguments.views]
    intersector = RayMeshIntersector(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False))
    rows = {
        "ray caster": seconds(lambda c: render_view(mesh, c, CONFIG), cameras, arguments.repeats),
        "plain twin": seconds(
            lambda c: plain_view(mesh, intersector, c), cameras[: arguments.plain_views], arguments.repeats
        ),
    }
    start = time.perf_counter()
    store = render_views(mesh, cameras, CONFIG)
    rows["ray caster, stored in memory"] = {"s_per_view": (time.perf_counter() - start) / len(store)}
    start = time.perf_counter()
    list(store)
    rows["decoding a stored view"] = {"s_per_view": (time.perf_counter() - start) / len(store)}
    notes = {}
    try:
        rows["gl"] = seconds(lambda c: gl.render_view(mesh, c, CONFIG), cameras, arguments.repeats)
        notes["gl"] = gl.device_name()
    except EquiviewError as error:
        notes["gl"] = str(error)
    result = {
        "benchmark": "render",
        "object": {"name": mesh.name, "faces": len(mesh.faces)},
        "views": len(cameras),
        "config": asdict(CONFIG),
        "rows": rows,
        "ratios": {
            name: rows["plain twin"]["s_per_view"] / rows[name]["s_per_view"]
            for name in ("ray caster", "gl")
            if name in rows
        },
        "notes": notes,
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "load": os.getloadavg()[0],
            "python": platform.python_version(),
        },
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
